//! Who asks: a bearer token, its project and its roles. The project comes from the token alone.

use axum::{
    extract::{Request, State as AxumState},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Shared, answer::ApiError};
use crate::state::{Role, TokenInfo};

/// Lets a request pass whose token has one of `roles` (an admin's always has) and puts its [`TokenInfo`] into the
/// request's extensions. Answers to a token with a limit carry the `X-Throttle-*` headers.
pub async fn require(
    AxumState((shared, roles)): AxumState<(Shared, &'static [Role])>,
    mut request: Request,
    next: Next,
) -> Response {
    let token = match authenticate(&shared, request.headers()) {
        Ok(token) => token,
        Err(error) => return error.into_response(),
    };
    let mut response = if token.has_any(roles) {
        request.extensions_mut().insert(token.clone());
        next.run(request).await
    } else {
        let needed: Vec<_> = roles.iter().map(|role| role.as_str()).chain(["admin"]).collect();
        ApiError::forbidden(format!("this needs a token with the role {}", needed.join(" or "))).into_response()
    };
    if let Some(allowance) = shared.quota.allowance(&token, shared.clock.now_ms()) {
        allowance.write(response.headers_mut());
    }
    response
}

fn authenticate(shared: &Shared, headers: &HeaderMap) -> Result<TokenInfo, ApiError> {
    let header = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        ApiError::unauthorized("Authentication required").field("Authorization", "send Authorization: Bearer <token>")
    })?;
    let invalid = || ApiError::unauthorized("Invalid or expired token");
    let text = header.to_str().map_err(|_| invalid())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized("Authentication required")
            .field("Authorization", "send Authorization: Bearer <token>; no other scheme is taken"));
    }
    shared
        .state
        .find_token(token.trim(), shared.clock.now_ms())
        .map_err(|error| ApiError::internal("reading tokens", &error))?
        .ok_or_else(invalid)
}

//! Who asks: a bearer token, its project and its roles. The project comes from the token alone.

use axum::{
    extract::{Request, State as AxumState},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Shared, answer::ApiError, is_api};
use crate::state::{Role, TokenInfo};

/// Whose request it is, or why that is unknown; found once a request, before it is routed.
#[derive(Clone)]
struct Identity(Result<TokenInfo, ApiError>);

/// Finds the token of a request to the API. Every answer to a token with a limit carries the `X-Throttle-*` headers: of a route,
/// of an unknown path, of a panic.
pub async fn identify(AxumState(shared): AxumState<Shared>, mut request: Request, next: Next) -> Response {
    if !is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let identity = authenticate(&shared, request.headers());
    let token = identity.clone().ok();
    request.extensions_mut().insert(Identity(identity));
    let mut response = next.run(request).await;
    if let Some(allowance) = token.and_then(|token| shared.quota.allowance(&token, shared.clock.now_ms())) {
        allowance.write(response.headers_mut());
    }
    response
}

/// Lets a request pass whose token has one of `roles` (an admin's always has), with its [`TokenInfo`] in the request's extensions.
pub async fn require(AxumState(roles): AxumState<&'static [Role]>, mut request: Request, next: Next) -> Response {
    let identity = request.extensions_mut().remove::<Identity>();
    let token = match identity {
        Some(Identity(Ok(token))) => token,
        Some(Identity(Err(error))) => return error.into_response(),
        None => return ApiError::internal("authenticating", &"a route with roles outside the API").into_response(),
    };
    if !token.has_any(roles) {
        let needed: Vec<_> = roles.iter().map(|role| role.as_str()).chain(["admin"]).collect();
        return ApiError::forbidden(format!("this needs a token with the role {}", needed.join(" or ")))
            .into_response();
    }
    request.extensions_mut().insert(token);
    next.run(request).await
}

/// Whose request it is, if its token is good.
pub(super) fn token_of(request: &Request) -> Option<TokenInfo> {
    request.extensions().get::<Identity>().and_then(|identity| identity.0.clone().ok())
}

fn authenticate(shared: &Shared, headers: &HeaderMap) -> Result<TokenInfo, ApiError> {
    let header = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        ApiError::unauthorized("Authentication required").field("Authorization", "send Authorization: Bearer <token>")
    })?;
    let invalid = || ApiError::unauthorized("Invalid or expired token");
    let text = header.to_str().map_err(|_| invalid())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(|| {
        invalid().field("Authorization", "send Authorization: Bearer <token>; the word Bearer is missing, or the token")
    })?;
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

//! A form that was sent: read within limits, and checked to come from one of our pages.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Request},
    http::request::Parts as RequestParts,
};
use url::form_urlencoded;

use super::visit::{Visit, is_foreign};
use crate::http::{Access, Shared, answer::ApiError, body};

/// The longest form, bytes: a ticket of 256 KiB, of whose characters each may take three.
const LONGEST: usize = 800 << 10;

/// The field with the token that binds a form to who was shown it.
pub(super) const TOKEN: &str = "form_token";

/// The fields of a form that was sent by one of our pages to who sends it back.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field; empty if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// Reads the form out of a request.
    ///
    /// # Errors
    /// 403 when another site has sent it, or it was made for somebody else; and what reading a body may come to.
    pub(super) async fn read(
        shared: &Shared,
        visit: &Visit,
        access: Access,
        request: &mut Request,
    ) -> Result<Self, ApiError> {
        if is_foreign(request.headers(), &shared.config.public_url) {
            return Err(ApiError::forbidden("this form was sent by a page of another site"));
        }
        let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
        let headers = request.headers().clone();
        let received = body::read(&headers, request.body_mut(), LONGEST, patience, &shared.receiving).await?;
        let form = Self(form_urlencoded::parse(&received.bytes).into_owned().collect());
        let token = form.field(TOKEN);
        let is_of_visitor = access == Access::OpenPage && visit.is_visitors_form(token);
        if !visit.is_own_form(token) && !is_of_visitor {
            return Err(ApiError::forbidden(
                "this form is of an earlier session, or cookies are switched off: open the page again and repeat what you did",
            ));
        }
        Ok(form)
    }
}

/// What `gate` has read.
impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, ApiError> {
        let form = parts.extensions.remove::<Self>();
        form.ok_or_else(|| ApiError::internal("finding the form", &"a handler of a form on a route that is no form's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let form = Form(form_urlencoded::parse(b"a=1&b=x+y%0A&a=2").into_owned().collect());
        assert_eq!((form.field("a"), form.field("b"), form.field("c")), ("1", "x y\n", ""));
    }
}

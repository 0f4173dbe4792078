//! Overview: is something wrong now, what is the shape of it, where, what is new, and is Errata itself well.

use askama::Template;
use axum::{
    Extension,
    response::{IntoResponse, Response},
};

use super::{Layout, Range, Visit, layout::first_place, render, see_other};
use crate::{
    http::{answer::ApiError, params::Params},
    state::{Role, TokenInfo},
};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
}

/// `GET /`; who has no use for rates and alerts begins elsewhere.
pub(super) async fn overview(
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    if let Some(place) = first_place(&token).filter(|_| !token.has_any(&[Role::Sre])) {
        return Ok(see_other(place));
    }
    let range = Range::read(&mut params, &visit);
    params.finish()?;
    Ok(render(&OverviewPage { layout: visit.layout("Overview").with_range(&range, &visit) })?.into_response())
}

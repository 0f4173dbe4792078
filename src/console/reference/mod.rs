//! Reference: the error catalog as a document, each entry with how often it was observed; and where the two differ.

mod document;
mod drift;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use super::{Layout, Range, Visit, render, view::Explore};
use crate::{
    http::{Shared, answer::ApiError, catalog, params::Params},
    state::{Role, TokenInfo},
};

use document::Document;
use drift::DriftView;

/// What of the reference is shown: the value of `show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Everything,
    Undocumented,
    Unobserved,
}

impl Show {
    const ALL: [Self; 3] = [Self::Everything, Self::Undocumented, Self::Unobserved];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "",
            Self::Undocumented => "undocumented",
            Self::Unobserved => "unobserved",
        }
    }
}

#[derive(Template)]
#[template(path = "reference/page.html")]
struct ReferencePage {
    layout: Layout,
    title: String,
    /// Edition and source.
    about: String,
    range: String,
    tabs: Vec<Tab>,
    document: Option<Document>,
    drift: Option<DriftView>,
    more: bool,
}

struct Tab {
    words: String,
    link: String,
    is_here: bool,
}

/// `GET /reference?show=undocumented|unobserved`
pub(super) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit);
    let filter = range.filter(params.conditions());
    let show = params
        .parsed("show", "undocumented or unobserved", |text| Show::ALL.into_iter().find(|show| show.as_str() == text));
    params.finish()?;
    let show = show.unwrap_or(Show::Everything);
    let observed = catalog::observe(&shared, &token, &filter).await?;
    let answer = observed.catalog(shared.catalog, &filter);
    let drift = observed.drift(shared.catalog, &filter, &shared.sight(&token));
    let (undocumented, unobserved) = (drift::undocumented(&drift), drift::unobserved(&drift));
    let entries = answer.statuses.len() + answer.fields.len();
    let tabs = [
        (Show::Everything, format!("All entries ({entries})")),
        (Show::Undocumented, format!("Observed, not documented ({undocumented})")),
        (Show::Unobserved, format!("Documented, not observed ({unobserved})")),
    ];
    let explore = Explore::of(&range);
    let looks_up = token.has_any(&[Role::Support]);
    let about = match answer.api.source.as_str() {
        "" => format!("Edition {}", answer.api.version),
        source => format!("Edition {} · {source}", answer.api.version),
    };
    let page = ReferencePage {
        title: format!("{}: error reference", answer.api.name),
        about,
        range: range.words(),
        tabs: tabs
            .into_iter()
            .map(|(tab, words)| Tab { words, link: visit.with_params(&[("show", tab.as_str())]), is_here: tab == show })
            .collect(),
        more: answer.more,
        drift: (show != Show::Everything)
            .then(|| DriftView::new(&drift, show == Show::Undocumented, &explore, looks_up)),
        document: (show == Show::Everything).then(|| Document::new(&answer, &explore)),
        layout: visit.layout("Reference").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

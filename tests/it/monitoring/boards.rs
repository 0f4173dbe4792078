//! The dashboards as their tests read them.

use std::collections::BTreeMap;

use regex::{Captures, Regex};
use serde_json::Value;

use super::file;
use crate::console::Browser;

/// One dashboard.
pub struct Board {
    pub uid: String,
    pub text: String,
    pub json: Value,
}

impl Board {
    /// Every dashboard of the repository, by file name.
    pub fn all() -> Vec<Self> {
        let mut files: Vec<_> =
            std::fs::read_dir(file("dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let boards = files.into_iter().map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Self { uid: path.file_stem().unwrap().to_str().unwrap().to_owned(), text, json }
        });
        boards.collect()
    }

    /// Those whose data comes from a data source.
    pub fn of(datasource: &str) -> Vec<Self> {
        Self::all().into_iter().filter(|board| board.panels()[0].datasource() == datasource).collect()
    }

    pub fn panels(&self) -> Vec<Panel<'_>> {
        self.json["panels"].as_array().unwrap().iter().map(|json| Panel { board: &self.uid, json }).collect()
    }

    pub fn variables(&self) -> &Vec<Value> {
        self.json["templating"]["list"].as_array().unwrap()
    }
}

/// One panel.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    board: &'a str,
    pub json: &'a Value,
}

impl<'a> Panel<'a> {
    pub fn text(&self, key: &str) -> &'a str {
        self.json[key].as_str().unwrap_or_else(|| panic!("{}: {key} is missing in {}", self.board, self.json))
    }

    /// Where it is, for messages and for expectations.
    pub fn name(&self) -> (&'a str, &'a str) {
        (self.board, self.text("title"))
    }

    pub fn datasource(&self) -> &'a str {
        self.json["datasource"]["type"].as_str().unwrap()
    }

    pub fn targets(&self) -> &'a [Value] {
        self.json["targets"].as_array().unwrap()
    }

    /// Addresses that it leads to.
    pub fn links(&self) -> Vec<&'a str> {
        let config = &self.json["fieldConfig"];
        let overrides = config["overrides"].as_array().into_iter().flatten();
        let properties = overrides.flat_map(|one| one["properties"].as_array().unwrap());
        let of_columns = properties.filter(|property| property["id"] == "links").map(|property| &property["value"]);
        let lists = of_columns.chain([&config["defaults"]["links"]]).filter_map(Value::as_array);
        lists.flatten().map(|link| link["url"].as_str().unwrap()).collect()
    }

    /// Follows its links from a series, or a row, with these values, as a person would who clicks on it.
    pub async fn follow_links(&self, browser: &mut Browser, values: &BTreeMap<String, String>) {
        let variable = Regex::new(r"\$\{([^}]+)\}").unwrap();
        for link in self.links() {
            let path = variable.replace_all(link, |found: &Captures<'_>| match &found[1] {
                "errata" => String::new(),
                "__from:date:iso" => "2026-11-17T00:00:00.000Z".to_owned(),
                "__to:date:iso" => "2026-11-19T00:00:00.000Z".to_owned(),
                "__value.raw" => values["request_id"].clone(),
                name => {
                    let name = name.trim_end_matches(":percentencode");
                    let key = name.strip_prefix("__field.labels.").or_else(|| name.strip_prefix("__data.fields."));
                    let value = key.and_then(|key| values.get(key));
                    let value = value.unwrap_or_else(|| panic!("{:?}: {link}: no {name} in {values:?}", self.name()));
                    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
                }
            });
            let page = browser.get(&path).await;
            assert_eq!(page.status, 200, "{:?} leads to {path}: {}", self.name(), page.words());
        }
    }
}

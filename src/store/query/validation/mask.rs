//! Texts without what may be somebody's, made by ClickHouse: what is counted by them must be masked before it is counted.

use crate::{
    event::pseudonym::{MASK, PERSONAL, SHORTEST_IN_TEXT},
    store::query::{Sql, Value},
};

impl Sql {
    /// A text without [what may be somebody's](crate::event::pseudonym::PERSONAL), and without its event's own account and user, whose columns
    /// must be there: as [`without_word`](crate::event::pseudonym::without_word) finds them, or more where letters other than ASCII's are
    /// around them.
    pub(in crate::store::query) fn push_masked(&mut self, column: &str) -> &mut Self {
        let ids = ["account_id", "user_id"];
        let holds = ids.map(|id| format!("(length({id}) >= {SHORTEST_IN_TEXT} AND position({column}, {id}) > 0)"));
        // U+0000 is in no text. An edge of the id that is no letter needs no edge of a word.
        let word = ids.map(|id| {
            format!(
                "if(length({id}) >= {SHORTEST_IN_TEXT}, concat(if(match({id}, '^\\\\w'), '\\\\b', ''), regexpQuoteMeta({id}), \
                 if(match({id}, '\\\\w$'), '\\\\b', '')), '\\\\x00')"
            )
        });
        // A pattern for each row is dear: made for those alone whose text has an id in it.
        self.push(&format!("if({}, replaceRegexpAll(", holds.join(" OR "))).push_impersonal(column);
        self.push(&format!(", concat({}), ", word.join(", '|', "))).push_value("{}), ", Value::Text(MASK.to_owned()));
        self.push_impersonal(column).push(")")
    }

    fn push_impersonal(&mut self, column: &str) -> &mut Self {
        self.push(&format!("replaceRegexpAll(toString({column}), "))
            .push_value("{}, ", Value::Text(PERSONAL.to_owned()));
        self.push_value("{})", Value::Text(MASK.to_owned()))
    }
}

//! Headers and exceptions as sent → as stored, remembered as a whole.

use super::{
    super::{
        Context,
        fields::Making,
        headers::{self, Headers, Side},
        key,
    },
    answer::value_of,
    masked::{MaskedForm, is_one_string},
};
use crate::event::{Exception, Marks, fingerprint};

/// Headers that are kept of one side.
#[derive(Debug)]
pub struct HeaderList {
    pub headers: Headers,
    /// Which of them has the request's id as its value.
    pub id_at: Option<usize>,
    pub form: MaskedForm,
    pub marks: Marks,
}

impl HeaderList {
    /// Reads headers as sent, whose text has `id` in it if it is given; `None` where they are not plain.
    pub fn read(context: &Context<'_>, side: Side, text: &str, id: Option<&str>) -> Option<Self> {
        let value = value_of(Some(text))?;
        let form = MaskedForm::of(&value, id)?;
        if id.is_some_and(|id| !is_one_string(text, id, &value)) {
            return None;
        }
        let mut making = Making::new(context, false);
        let headers = headers::read(&mut making, side, value);
        let id_at = match id {
            None => None,
            Some(id) => {
                let mut holders = headers.iter().enumerate().filter(|(_, (_, value))| value.contains(id));
                let (at, (name, value)) = holders.next()?;
                // Only there is the id known to be kept as it is, whatever it is.
                let is_id = value == id && headers::REQUEST_ID.contains(&name.as_str()) && holders.next().is_none();
                Some(at).filter(|_| is_id)?;
                Some(at)
            }
        };
        let marks = making.plain_marks()?;
        Some(Self { headers, id_at, form, marks })
    }

    /// The headers of an event with this id.
    pub fn of(&self, id: &str) -> std::borrow::Cow<'_, [(String, String)]> {
        let Some(at) = self.id_at else { return (&*self.headers).into() };
        let mut headers = self.headers.clone();
        id.clone_into(&mut headers[at].1);
        headers.into()
    }
}

/// An exception as stored.
#[derive(Debug)]
pub struct Thrown {
    pub exception: Option<Exception>,
    /// Its part of the fingerprint.
    pub fingerprint: Box<[u8]>,
    pub form: MaskedForm,
    pub marks: Marks,
}

impl Thrown {
    /// Reads an exception as sent; `None` where it is not plain.
    pub fn read(context: &Context<'_>, text: &str) -> Option<Self> {
        let value = value_of(Some(text))?;
        let form = MaskedForm::of(&value, None)?;
        let mut making = Making::new(context, false);
        let exception = making.exception(value);
        let fingerprint = fingerprint::thrown(exception.as_ref());
        let marks = making.plain_marks()?;
        Some(Self { exception, fingerprint, form, marks })
    }
}

/// The canonical form ([`key`]) of a value.
pub(super) fn form_of(value: &serde_json::Value) -> Vec<u8> {
    let mut form = Vec::new();
    key::write(value, &mut form);
    form
}

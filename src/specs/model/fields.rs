//! The fields of a JSON object, each checked as it is read. What nobody read is refused at the end, so that no field that
//! changes the architecture is passed over.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::printable::printable;
use crate::specs::error::SpecError;
use crate::specs::model::harmless::is_harmless;

/// The most that is shown of a value that is refused, in characters.
const MAX_VALUE: usize = 60;

/// More layers than any model has; keeps what is counted layer by layer cheap.
pub(super) const MOST_LAYERS: u64 = 10_000;

/// An object of the file, with the file's name and the object's place in it, for errors.
pub(super) struct Fields<'a> {
    file: &'a str,
    /// `text_config.` in that object, empty at the top.
    place: String,
    fields: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Fields<'a> {
    /// The fields of the JSON object that the file holds.
    pub(super) fn parse(file: &'a str, text: &str) -> Result<Self, SpecError> {
        // Python writes infinities, for which JSON has no word. No field that is read can be one.
        let finite = text.contains(" Infinity").then(|| text.replace(" Infinity", " null"));
        let fields = serde_json::from_str(finite.as_deref().unwrap_or(text)).map_err(|error| SpecError::Syntax {
            file: file.to_owned(),
            reason: printable(&format!("not a JSON object: {error}"), 200),
        })?;
        Ok(Self { file, place: String::new(), fields, read: RefCell::default() })
    }

    /// The object in this field, if it is there, taken out of this one.
    pub(super) fn take(&mut self, field: &str) -> Result<Option<Self>, SpecError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => {
                let place = format!("{}{field}.", self.place);
                Ok(Some(Self { file: self.file, place, fields, read: RefCell::default() }))
            }
            Some(other) => Err(self.bad(field, &other.to_string(), "give an object")),
        }
    }

    /// The object in this field, if it is there.
    pub(super) fn object(&self, field: &str) -> Result<Option<Self>, SpecError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let Value::Object(fields) = value else { return Err(self.bad(field, &value.to_string(), "give an object")) };
        let place = format!("{}{field}.", self.place);
        Ok(Some(Self { file: self.file, place, fields: fields.clone(), read: RefCell::default() }))
    }

    /// The value of a field; `None` where it is missing or null.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        let (name, value) = self.fields.get_key_value(field).filter(|(_, value)| !value.is_null())?;
        self.read.borrow_mut().insert(name.clone());
        Some(value)
    }

    /// Refuses the first field that nobody read and that is not known to leave the architecture as it is.
    pub(super) fn all_understood(&self) -> Result<(), SpecError> {
        let read = self.read.borrow();
        let unknown =
            |(name, value): &(&String, &Value)| !value.is_null() && !read.contains(*name) && !is_harmless(name);
        self.fields.iter().find(unknown).map_or(Ok(()), |(name, value)| {
            Err(self.bad(
                &printable(name, MAX_VALUE),
                &value.to_string(),
                "it is not understood and may change the architecture: give a file without it if it does not",
            ))
        })
    }

    /// Counts fields as understood whatever they hold: other names of what was read, or what nothing here depends on.
    pub(super) fn understood(&self, fields: &[&str]) {
        self.read.borrow_mut().extend(fields.iter().map(|field| (*field).to_owned()));
    }

    /// Whether a field is there and not null.
    pub(super) fn is_present(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// The first of these names that is there.
    pub(super) fn first<'b>(&self, names: &[&'b str]) -> Option<&'b str> {
        names.iter().copied().find(|name| self.is_present(name))
    }

    /// A required count of at least 1.
    pub(super) fn count(&self, field: &str) -> Result<u64, SpecError> {
        let value = self.get(field).ok_or_else(|| self.missing(field, "copy the model's whole config.json"))?;
        self.in_range(field, value, 1)
    }

    /// A required count that has one of several names; the first is named where none is there.
    pub(super) fn count_of(&self, names: &[&str]) -> Result<u64, SpecError> {
        self.count(self.first(names).unwrap_or(names[0]))
    }

    /// A count of at least 1, or what it is where it is absent.
    pub(super) fn positive_or(&self, field: &str, default: u64) -> Result<u64, SpecError> {
        if self.is_present(field) { self.count(field) } else { Ok(default) }
    }

    /// A count that may be 0, or what it is where it is absent.
    pub(super) fn count_or(&self, field: &str, default: u64) -> Result<u64, SpecError> {
        self.get(field).map_or(Ok(default), |value| self.in_range(field, value, 0))
    }

    fn in_range(&self, field: &str, value: &Value, least: u64) -> Result<u64, SpecError> {
        let most = if field == "num_hidden_layers" { MOST_LAYERS } else { 1 << 32 };
        value.as_u64().filter(|count| (least..=most).contains(count)).ok_or_else(|| {
            self.bad(field, &value.to_string(), &format!("it must be a whole number from {least} to {most}"))
        })
    }

    /// True or false, or what it is where it is absent.
    pub(super) fn flag_or(&self, field: &str, default: bool) -> Result<bool, SpecError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.bad(field, &other.to_string(), "give true or false")),
        }
    }

    /// A number above 0, or what it is where it is absent.
    pub(super) fn number_or(&self, field: &str, default: f64) -> Result<f64, SpecError> {
        self.get(field).map_or(Ok(default), |value| {
            value
                .as_f64()
                .filter(|number| number.is_finite() && *number > 0.0)
                .ok_or_else(|| self.bad(field, &value.to_string(), "give a number above 0"))
        })
    }

    /// Text, if it is there.
    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, SpecError> {
        self.get(field).map_or(Ok(None), |value| {
            value.as_str().map(Some).ok_or_else(|| self.bad(field, &value.to_string(), "give text in quotes"))
        })
    }

    /// What one of these words means, if the field is there.
    pub(super) fn word<T: Copy>(&self, field: &str, words: &[(&str, T)]) -> Result<Option<T>, SpecError> {
        let Some(given) = self.text(field)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == given) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                Err(self.bad(field, given, &format!("give one of {}", known.join(", "))))
            }
        }
    }

    /// A list, if it is there. `what` it must be a list of is for the error.
    pub(super) fn list<T: DeserializeOwned>(&self, field: &str, what: &str) -> Result<Option<Vec<T>>, SpecError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let list = serde_json::from_value(value.clone());
        list.map(Some).map_err(|_| self.bad(field, &value.to_string(), &format!("give a list of {what}")))
    }

    /// A list with an entry for each layer, if it is there. More are allowed where modules after the layers have one too.
    pub(super) fn per_layer<T: DeserializeOwned>(
        &self,
        field: &str,
        what: &str,
        layers: u64,
    ) -> Result<Option<Vec<T>>, SpecError> {
        let list: Option<Vec<T>> = self.list(field, what)?;
        match list {
            Some(list) if (list.len() as u64) < layers => {
                let value = format!("a list of {}", list.len());
                Err(self.bad(field, &value, &format!("it must have an entry for each of {layers} layers")))
            }
            other => Ok(other),
        }
    }

    /// Refuses any other value than this one: what is built with another is not modelled.
    pub(super) fn only(&self, field: &str, value: &Value) -> Result<(), SpecError> {
        match self.get(field) {
            Some(given) if given != value => {
                Err(self.bad(field, &given.to_string(), &format!("only {value} is modelled")))
            }
            _ => Ok(()),
        }
    }

    /// The error of a field that must be there.
    pub(super) fn missing(&self, field: &str, remedy: &str) -> SpecError {
        let field = format!("{}{field}", self.place);
        SpecError::Missing { file: self.file.to_owned(), field, remedy: remedy.to_owned() }
    }

    /// The error of a field that cannot be so.
    pub(super) fn bad(&self, field: &str, value: &str, remedy: &str) -> SpecError {
        let (file, field) = (self.file.to_owned(), format!("{}{field}", self.place));
        // A hostile value may be long: what is shown of it is not.
        let value = printable(value, MAX_VALUE);
        SpecError::Value { file, field, value, remedy: remedy.to_owned() }
    }

    /// The error of an architecture that no family covers.
    pub(super) fn unsupported(&self, architecture: &str, supported: &str) -> SpecError {
        SpecError::Architecture {
            file: self.file.to_owned(),
            architecture: printable(architecture, MAX_VALUE),
            supported: supported.to_owned(),
        }
    }
}

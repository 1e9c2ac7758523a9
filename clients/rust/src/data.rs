// SPDX-License-Identifier: Apache-2.0
//! Rust types from JSON and back.
use std::collections::BTreeMap;

use crate::json::Json;

/// What requests and replies are made of.
pub trait Data: Sized {
    fn from_json(json: &Json) -> Result<Self, String>;
    fn to_json(&self) -> Json;
}

macro_rules! plain {
    ($type:ty, $what:literal, $($pattern:pat => $value:expr),+; $self:ident => $json:expr) => {
        impl Data for $type {
            fn from_json(json: &Json) -> Result<Self, String> {
                match json {
                    $($pattern => Ok($value),)+
                    _ => Err(concat!($what, " is expected").into()),
                }
            }
            fn to_json(&$self) -> Json {
                $json
            }
        }
    };
}

plain!(bool, "true or false", Json::Bool(value) => *value; self => Json::Bool(*self));
plain!(i64, "an integer", Json::Integer(value) => *value; self => Json::Integer(*self));
plain!(f64, "a number", Json::Integer(value) => *value as f64, Json::Number(value) => *value;
    self => Json::Number(*self));
plain!(String, "a text", Json::String(value) => value.clone(); self => Json::String(self.clone()));

impl Data for Json {
    fn from_json(json: &Json) -> Result<Self, String> {
        Ok(json.clone())
    }
    fn to_json(&self) -> Json {
        self.clone()
    }
}

impl Data for () {
    fn from_json(_: &Json) -> Result<Self, String> {
        Ok(())
    }
    fn to_json(&self) -> Json {
        Json::Null
    }
}

impl<T: Data> Data for Option<T> {
    fn from_json(json: &Json) -> Result<Self, String> {
        match json {
            Json::Null => Ok(None),
            value => T::from_json(value).map(Some),
        }
    }
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Data::to_json)
    }
}

impl<T: Data> Data for Vec<T> {
    fn from_json(json: &Json) -> Result<Self, String> {
        match json {
            Json::Array(values) => values.iter().map(T::from_json).collect(),
            _ => Err("an array is expected".into()),
        }
    }
    fn to_json(&self) -> Json {
        Json::Array(self.iter().map(Data::to_json).collect())
    }
}

impl<T: Data> Data for BTreeMap<String, T> {
    fn from_json(json: &Json) -> Result<Self, String> {
        match json {
            Json::Object(members) => {
                members.iter().map(|(name, value)| Ok((name.clone(), T::from_json(value)?))).collect()
            }
            _ => Err("an object is expected".into()),
        }
    }
    fn to_json(&self) -> Json {
        Json::Object(self.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
    }
}

/// A member of an object; null stands for one that is not there.
pub(crate) fn member<T: Data>(json: &Json, name: &str) -> Result<T, String> {
    let name = name.trim_start_matches("r#");
    T::from_json(json.get(name).unwrap_or(&Json::Null)).map_err(|text| format!("{name}: {text}"))
}

/// One that may be left out.
pub(crate) fn optional<T: Data>(json: &Json, name: &str) -> Result<Option<T>, String> {
    let name = name.trim_start_matches("r#");
    json.get(name).map(T::from_json).transpose().map_err(|text| format!("{name}: {text}"))
}

/// Structs as JSON objects. `name : T` is always there, `name ? T` becomes an `Option<T>` that is left out when it is
/// `None`. Members that a newer server adds are passed over.
macro_rules! data {
    ($($(#[$note:meta])* pub struct $name:ident { $($(#[$text:meta])* $field:ident $mark:tt $type:ty,)* })*) => {$(
        $(#[$note])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $($(#[$text])* pub $field: crate::data::field_type!($mark $type),)*
        }

        impl crate::data::Data for $name {
            #[allow(unused_variables)]
            fn from_json(json: &Json) -> Result<Self, String> {
                match json {
                    Json::Object(_) => Ok($name {
                        $($field: crate::data::field_read!($mark json, stringify!($field))?,)*
                    }),
                    _ => Err(concat!("an object, ", stringify!($name), ", is expected").into()),
                }
            }
            #[allow(unused_mut, clippy::vec_init_then_push)]
            fn to_json(&self) -> Json {
                let mut members = Vec::new();
                $(crate::data::field_write!($mark members, stringify!($field), &self.$field);)*
                Json::Object(members)
            }
        }
    )*};
}

macro_rules! field_type {
    (: $type:ty) => { $type };
    (? $type:ty) => { Option<$type> };
}

macro_rules! field_read {
    (: $json:expr, $name:expr) => {
        crate::data::member($json, $name)
    };
    (? $json:expr, $name:expr) => {
        crate::data::optional($json, $name)
    };
}

macro_rules! field_write {
    (: $members:ident, $name:expr, $value:expr) => {
        $members.push(($name.trim_start_matches("r#").to_string(), crate::data::Data::to_json($value)));
    };
    (? $members:ident, $name:expr, $value:expr) => {
        if let Some(value) = $value {
            $members.push(($name.trim_start_matches("r#").to_string(), crate::data::Data::to_json(value)));
        }
    };
}

pub(crate) use {data, field_read, field_type, field_write};

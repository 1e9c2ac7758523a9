// SPDX-License-Identifier: Apache-2.0
//! Reads capi/abi/api.json. A crate would do, but then the tests of the oldest toolchain need the network.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Map(BTreeMap<String, Json>),
}

impl Json {
    pub fn read(text: &str) -> Json {
        let mut rest = text.chars().peekable();
        let value = value(&mut rest);
        assert_eq!(next(&mut rest), None, "something behind the JSON");
        value
    }

    pub fn map(&self) -> &BTreeMap<String, Json> {
        match self {
            Json::Map(map) => map,
            other => panic!("no map: {:?}", other),
        }
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(list) => list,
            other => panic!("no list: {:?}", other),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("no text: {:?}", other),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Json::Number(number) => *number as i64,
            other => panic!("no number: {:?}", other),
        }
    }
}

/// The next character that is not white space, which stays.
fn next(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    rest.peek().copied()
}

fn string(rest: &mut Peekable<Chars<'_>>) -> String {
    assert_eq!(rest.next(), Some('"'));
    let mut text = String::new();
    loop {
        match rest.next().expect("a text that ends") {
            '"' => return text,
            '\\' => text.extend(rest.next()),
            c => text.push(c),
        }
    }
}

fn value(rest: &mut Peekable<Chars<'_>>) -> Json {
    match next(rest).expect("a value") {
        '"' => Json::Text(string(rest)),
        '[' => {
            rest.next();
            let mut list = Vec::new();
            while next(rest) != Some(']') {
                list.push(value(rest));
                next(rest);
                rest.next_if_eq(&',');
            }
            rest.next();
            Json::List(list)
        }
        '{' => {
            rest.next();
            let mut map = BTreeMap::new();
            while next(rest) != Some('}') {
                let key = string(rest);
                assert_eq!(next(rest), Some(':'));
                rest.next();
                map.insert(key, value(rest));
                next(rest);
                rest.next_if_eq(&',');
            }
            rest.next();
            Json::Map(map)
        }
        _ => {
            let mut text = String::new();
            while let Some(c) = rest.next_if(|c| "+-.0123456789eE".contains(*c)) {
                text.push(c);
            }
            Json::Number(text.parse().expect("a number"))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! JSON, as small as it can be: what a server sent is hostile until it is read.
use std::fmt::Write;

/// Any JSON value. Objects keep the order of their members.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

const DEPTH_MAX: usize = 64;

impl Json {
    /// Reads one document.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { data: text.as_bytes(), text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(reader.wrong("the end is expected"))
        }
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_array(&self) -> &[Json] {
        match self {
            Json::Array(values) => values,
            _ => &[],
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Integer(number) => write!(out, "{number}").expect("a string grows"),
            // JSON has no infinities; the server would refuse them anyway.
            Json::Number(number) if !number.is_finite() => out.push_str("null"),
            Json::Number(number) => write!(out, "{number:?}").expect("a string grows"),
            Json::String(text) => write_text(text, out),
            Json::Array(values) => {
                out.push('[');
                for (i, value) in values.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    value.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a string grows"),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    data: &'a [u8],
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, text: &str) -> String {
        format!("JSON, byte {}: {text}", self.at)
    }

    fn space(&mut self) {
        while matches!(self.data.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.data.get(self.at).copied()
    }

    fn take(&mut self, expected: u8) -> Result<(), String> {
        if self.peek() == Some(expected) {
            self.at += 1;
            return Ok(());
        }
        Err(self.wrong(&format!("'{}' is expected", expected as char)))
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong("a value is expected")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        while matches!(self.data.get(self.at), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Json::Integer(number));
        }
        text.parse::<f64>().map(Json::Number).map_err(|_| self.wrong("a number is expected"))
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        self.take(b'[')?;
        let mut values = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Json::Array(values));
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.take(b'{')?;
        let mut members = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.take(b':')?;
            members.push((name, self.value(depth + 1)?));
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(Json::Object(members));
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(|c| c == '"' || c == '\\' || c < ' ');
            let end = end.ok_or_else(|| self.wrong("a string does not end"))?;
            out.push_str(&rest[..end]);
            self.at += end + 1;
            match self.data[self.at - 1] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(self.wrong("a control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let kind = self.data.get(self.at).copied();
        self.at += 1;
        Ok(match kind {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4()?;
                let mut code = high;
                if (0xd800..0xdc00).contains(&high) && self.data[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex4()?;
                    code = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                char::from_u32(code).ok_or_else(|| self.wrong("half of a surrogate pair"))?
            }
            _ => return Err(self.wrong("an escape that JSON does not have")),
        })
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let digits = self.data.get(self.at..self.at + 4).and_then(|four| std::str::from_utf8(four).ok());
        let number = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
        self.at += 4;
        number.ok_or_else(|| self.wrong("four hex digits are expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn what_is_written_reads_back() {
        let text = r#"{"a":[1,-2.5,1e300,true,null],"b":{"c\"\\":"\u0001 é 😀"},"d":[]}"#;
        let value = Json::parse(text).unwrap();
        assert_eq!(Json::parse(&value.text()).unwrap(), value);
        assert_eq!(value.get("a").unwrap().as_array()[0].as_i64(), Some(1));
        assert_eq!(Json::parse(r#""\ud83d\ude00""#).unwrap(), Json::String("😀".into()));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "\"a",
            "\"\\u12\"",
            "\"\\ud800\"",
            "1 2",
            "tru",
            "nul",
            "-",
            "\"\n\"",
            "\"\\",
            &deep,
        ] {
            assert!(Json::parse(text).is_err(), "{text:.20}");
        }
    }
}

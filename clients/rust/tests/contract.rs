// SPDX-License-Identifier: Apache-2.0
//! The client against daemon/openapi.json: nothing is missing, nothing has drifted.
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use mustafar_client::json::Json;
use mustafar_client::ProblemType;

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: PathBuf) -> Json {
    Json::parse(&read_to_string(path).unwrap()).unwrap()
}

fn members(json: &Json) -> &[(String, Json)] {
    match json {
        Json::Object(members) => members,
        _ => panic!("no object"),
    }
}

#[test]
fn problem_types_are_the_closed_list() {
    let openapi = read(clients().join("../daemon/openapi.json"));
    let at = ["components", "schemas", "problem", "properties", "type", "enum"];
    let list = at.iter().fold(&openapi, |json, name| json.get(name).unwrap());
    let theirs: Vec<_> = list.as_array().iter().map(|one| one.as_str().unwrap().to_string()).collect();
    let mine: Vec<_> =
        ProblemType::ALL.iter().map(|(slug, _)| format!("urn:mustafar:problem:{slug}")).collect();
    assert_eq!(mine, theirs, "run clients/generate.py");
}

#[test]
fn every_operation_has_a_method_or_a_reason() {
    let openapi = read(clients().join("../daemon/openapi.json"));
    let left_out = read(clients().join("left_out.json"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let sources: String = files.map(|path| read_to_string(path).unwrap()).collect();
    for (path, methods) in members(openapi.get("paths").unwrap()) {
        for (method, operation) in members(methods) {
            let name = operation.get("operationId").and_then(Json::as_str).unwrap();
            let there = sources.contains(&format!("pub fn {name}(&self"))
                || sources.contains(&format!("pub fn {name}(\n        &self"));
            assert!(there || left_out.get(name).is_some(), "{method} {path}: there is no method {name}");
        }
    }
}

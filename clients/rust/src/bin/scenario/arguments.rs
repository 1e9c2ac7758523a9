// SPDX-License-Identifier: Apache-2.0
//! What a step passes on. A step that does not fit its call ends with a panic, which the runner reports.
use std::collections::BTreeMap;
use std::path::Path;

use mustafar_client::data::Data;
use mustafar_client::json::Json;
use mustafar_client::{Pair, Part, Tensor};

use crate::values::make_tensor;

pub struct Arguments<'a> {
    pub step: &'a Json,
    pub root: &'a Path,
}

impl Arguments<'_> {
    fn part(&self, name: &str) -> Option<&Json> {
        self.step.get(name)
    }

    pub fn place(&self, at: usize) -> &str {
        self.part("path").expect("path").as_array()[at].as_str().expect("a text in path")
    }

    pub fn number(&self, at: usize) -> i64 {
        self.part("path").expect("path").as_array()[at].as_i64().expect("a number in path")
    }

    pub fn body<T: Data>(&self) -> T {
        T::from_json(self.part("body").expect("body")).expect("the body")
    }

    pub fn query<T: Data>(&self, name: &str) -> Option<T> {
        let value = self.part("query")?.get(name)?;
        Some(T::from_json(value).expect("a parameter"))
    }

    pub fn tensor(&self, name: &str) -> Tensor {
        make_tensor(self.part("tensors").and_then(|all| all.get(name)).expect("a tensor"))
    }

    /// 0.k, 0.v, 1.k, ... as a pair per layer.
    pub fn pairs(&self) -> Vec<Pair> {
        pairs(self.part("tensors").expect("tensors"))
    }

    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        members(self.part("tensors")).map(|(name, spec)| (name.clone(), make_tensor(spec))).collect()
    }

    pub fn parts(&self) -> BTreeMap<String, Part> {
        let part = |spec: &Json| Part {
            layers: pairs(spec.get("tensors").expect("tensors")),
            expect: spec.get("expect").and_then(Json::as_i64),
        };
        members(self.part("parts")).map(|(name, spec)| (name.clone(), part(spec))).collect()
    }

    pub fn text(&self, name: &str) -> &str {
        self.part(name).and_then(Json::as_str).expect(name)
    }

    pub fn file(&self) -> Vec<u8> {
        std::fs::read(self.root.join(self.text("file"))).expect("the file")
    }
}

fn members(object: Option<&Json>) -> impl Iterator<Item = &(String, Json)> {
    match object {
        Some(Json::Object(members)) => members.iter(),
        _ => panic!("an object is expected"),
    }
}

fn pairs(tensors: &Json) -> Vec<Pair> {
    let one = |layer: usize, side: &str| tensors.get(&format!("{layer}.{side}")).map(make_tensor);
    (0..).map_while(|layer| Some((one(layer, "k")?, one(layer, "v")?))).collect()
}

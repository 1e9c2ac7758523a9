// SPDX-License-Identifier: Apache-2.0
//! What a step passes on. A step that does not fit its call ends with a panic, which the runner reports.
use mustafar_client::data::Data;
use mustafar_client::json::Json;
use mustafar_client::Tensor;

use crate::values::make_tensor;

pub struct Arguments<'a> {
    pub step: &'a Json,
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
}

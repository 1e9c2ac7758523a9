// SPDX-License-Identifier: Apache-2.0
//! Calls that are not generated.
use mustafar_client::data::Data;
use mustafar_client::json::Json;
use mustafar_client::*;

use crate::arguments::Arguments;
use crate::dispatch::dispatch;
use crate::sha256::sha256_hex;

pub fn ask(client: &Client, name: &str, step: &Arguments) -> Result<Json> {
    match name {
        "append_rows" => {
            let query = AppendRowsQuery { expect: step.query("expect"), tentative: step.query("tentative") };
            let (k, v) = (step.tensor("k"), step.tensor("v"));
            client.append_rows(step.place(0), step.number(1), &k, &v, &query).map(|reply| reply.to_json())
        }
        "attend_rows" => client
            .attend_rows(step.place(0), step.number(1), &step.tensor("q"), &attend_query(step))
            .map(|reply| attended(&reply)),
        _ => dispatch(client, name, step).unwrap_or_else(|| panic!("there is no call {name}")),
    }
}

fn attend_query(step: &Arguments) -> AttendRowsQuery {
    AttendRowsQuery {
        out_dtype: step.query("out_dtype"),
        lse: step.query("lse"),
        scale: step.query("scale"),
        softcap: step.query("softcap"),
        sliding_window: step.query("sliding_window"),
        drop_mass: step.query("drop_mass"),
        q_position: step.query("q_position"),
    }
}

fn attended(reply: &Attended) -> Json {
    let mut members = vec![("out".to_string(), tensor(&reply.out))];
    if let Some(lse) = &reply.lse {
        members.push(("lse".to_string(), tensor(lse)));
    }
    Json::Object(members)
}

fn tensor(one: &Tensor) -> Json {
    let shape = one.shape.iter().map(|size| Json::Integer(*size as i64)).collect();
    Json::Object(vec![
        ("dtype".to_string(), Json::String(one.dtype.clone())),
        ("shape".to_string(), Json::Array(shape)),
        ("sha256".to_string(), Json::String(sha256_hex(&one.data))),
    ])
}

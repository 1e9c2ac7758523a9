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
        "append_layers" => {
            let query = AppendRowsQuery { expect: step.query("expect"), tentative: step.query("tentative") };
            client.append_layers(step.place(0), &step.pairs(), &query).map(|reply| reply.to_json())
        }
        "append_caches" => client.append_caches(&step.parts(), None).map(|reply| reply.to_json()),
        "attend_caches" => client
            .attend_caches(step.number(0), &step.tensors(), &attend_query(step))
            .map(|reply| Json::Object(reply.iter().map(|(id, one)| (id.clone(), attended(one))).collect())),
        "merge_parts" => {
            let all = step.tensors();
            client
                .merge_parts(&all["out_a"], &all["lse_a"], &all["out_b"], &all["lse_b"])
                .map(|reply| attended(&reply))
        }
        "get_tensor" => {
            client.get_tensor(step.place(0), step.number(1), &head_query(step)).map(|reply| tensor(&reply))
        }
        "get_bitmap_rows" => {
            client.get_bitmap_rows(step.place(0), step.number(1), &head_query(step)).map(|reply| file(&reply))
        }
        "get_snapshot_content" => client.get_snapshot_content(step.place(0)).map(|reply| file(&reply)),
        "put_snapshot_content" => {
            let mut content = client.get_snapshot_content(step.text("content_of"))?;
            if let Some(at) = step.step.get("spoil").and_then(Json::as_i64) {
                content[at as usize] ^= 0xFF;
            }
            client.put_snapshot_content(step.place(0), content, None).map(|reply| reply.to_json())
        }
        "put_trace" => client.put_trace(step.place(0), step.file()).map(|reply| reply.to_json()),
        "post_jobs" => client.post_jobs(&step.body(), Some(step.text("key"))).map(|reply| reply.to_json()),
        "get_result_csv" => client.get_result_csv(step.place(0)).map(Json::String),
        "wait_job" => client.wait_job(step.place(0)).map(|reply| reply.to_json()),
        "watch_job" => watch(client, step.place(0)),
        _ => dispatch(client, name, step).unwrap_or_else(|| panic!("there is no call {name}")),
    }
}

fn watch(client: &Client, id: &str) -> Result<Json> {
    let (mut kinds, mut rows, mut done) = (Vec::new(), Vec::new(), Json::Null);
    client.watch_job(id, 0, |event| {
        if event.kind != "progress" {
            kinds.push(Json::String(event.kind.clone()));
        }
        if event.kind == "row" {
            rows.push(event.data.clone());
        }
        done = event.data.clone();
        Ok(())
    })?;
    let members = [("kinds", Json::Array(kinds)), ("rows", Json::Array(rows)), ("done", done)];
    Ok(Json::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect()))
}

fn head_query(step: &Arguments) -> HeadQuery {
    HeadQuery {
        side: step.query("side").expect("side"),
        kv_head: step.query("kv_head"),
        from: step.query("from"),
        to: step.query("to"),
        out_dtype: step.query("out_dtype"),
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
        sinks: step.query("sinks").map(|values: Vec<f64>| values.into_iter().map(|one| one as f32).collect()),
        weights: step.query("weights"),
        dropped: step.query("dropped"),
    }
}

fn attended(reply: &Attended) -> Json {
    let mut members = vec![("out".to_string(), tensor(&reply.out))];
    for (name, part) in [("lse", &reply.lse), ("weights", &reply.weights), ("dropped", &reply.dropped)] {
        members.extend(part.iter().map(|one| (name.to_string(), tensor(one))));
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

fn file(content: &[u8]) -> Json {
    Json::Object(vec![
        ("bytes".to_string(), Json::Integer(content.len() as i64)),
        ("sha256".to_string(), Json::String(sha256_hex(content))),
    ])
}

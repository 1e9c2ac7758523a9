// SPDX-License-Identifier: Apache-2.0
//! Inputs that every language makes alike, and replies as one text.
use mustafar_client::json::Json;
use mustafar_client::Tensor;

/// The generator of tests/conformance/README.md, from element 0 on.
pub fn make_tensor(spec: &Json) -> Tensor {
    let dtype = spec.get("dtype").and_then(Json::as_str).expect("dtype");
    let seed = spec.get("seed").and_then(Json::as_i64).expect("seed") as u64;
    let shape: Vec<usize> = spec
        .get("shape")
        .expect("shape")
        .as_array()
        .iter()
        .map(|size| size.as_i64().expect("a size") as usize)
        .collect();
    let count: usize = shape.iter().product();
    let mut words: Vec<u32> = (0..count as u64).map(|index| bits(dtype, seed, index)).collect();
    if let Some(Json::Object(patches)) = spec.get("patch") {
        for (at, value) in patches {
            let word = u32::from_str_radix(value.as_str().expect("hex digits"), 16).expect("hex digits");
            words[at.parse::<usize>().expect("an index")] = word;
        }
    }
    let halves: Vec<u16> = words.iter().map(|word| *word as u16).collect();
    match dtype {
        "f16" => Tensor::f16(&halves, &shape),
        "bf16" => Tensor::bf16(&halves, &shape),
        _ => Tensor::f32(&words.into_iter().map(f32::from_bits).collect::<Vec<_>>(), &shape),
    }
}

fn bits(dtype: &str, seed: u64, index: u64) -> u32 {
    let mut z = (seed << 32).wrapping_add(index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let exponent = (z >> 32) & 7;
    let word = match dtype {
        "f16" => z & 0x83FF | (8 + exponent) << 10,
        "bf16" => z & 0x807F | (120 + exponent) << 7,
        _ => z & 0x807F_FFFF | (120 + exponent) << 23,
    };
    word as u32
}

/// One text per value, the same in every language.
pub fn canonical(value: &Json) -> String {
    match value {
        Json::Null => "n".to_string(),
        Json::Bool(true) => "t".to_string(),
        Json::Bool(false) => "f".to_string(),
        Json::Integer(number) if number.abs() < 1 << 53 => format!("i{number};"),
        Json::Integer(number) => float(*number as f64),
        Json::Number(number) => float(*number),
        Json::String(text) => format!("s{}:{text}", text.len()),
        Json::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<String>()),
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            let name = |text: &str| canonical(&Json::String(text.to_string()));
            let text: String = sorted.iter().map(|(key, one)| name(key) + &canonical(one)).collect();
            format!("{{{text}}}")
        }
    }
}

fn float(number: f64) -> String {
    if number == number.trunc() && number.abs() < 2f64.powi(53) {
        return format!("i{};", number as i64);
    }
    format!("d{:016x}", number.to_bits())
}

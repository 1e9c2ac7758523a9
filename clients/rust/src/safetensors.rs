// SPDX-License-Identifier: Apache-2.0
//! Several tensors in one body: 8 bytes of length, a JSON header, the bytes.
use crate::data::Data;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::tensor::Tensor;

pub(crate) const MEDIA: &str = "application/vnd.safetensors";

/// A body with these tensors, in this order.
pub fn pack(tensors: &[(String, &Tensor)], metadata: &[(String, String)]) -> Result<Vec<u8>> {
    let text = |text: &str| Json::String(text.to_string());
    let mut header = Vec::new();
    if !metadata.is_empty() {
        let members = metadata.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        header.push(("__metadata__".to_string(), Json::Object(members)));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        tensor.check(name, tensor.shape.len())?;
        let begin = end;
        end += tensor.data.len() as i64;
        let shape: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
        let members = vec![
            ("dtype".to_string(), text(&tensor.dtype.to_uppercase())),
            ("shape".to_string(), shape.to_json()),
            ("data_offsets".to_string(), vec![begin, end].to_json()),
        ];
        header.push((name.clone(), Json::Object(members)));
    }
    let mut header = Json::Object(header).text().into_bytes();
    header.resize((header.len() + 7) / 8 * 8, b' ');
    let mut body = (header.len() as u64).to_le_bytes().to_vec();
    body.extend_from_slice(&header);
    for (_, tensor) in tensors {
        body.extend_from_slice(&tensor.data);
    }
    Ok(body)
}

/// The tensors of a body.
pub fn unpack(body: &[u8]) -> Result<Vec<(String, Tensor)>> {
    read(body).ok_or_else(|| Error::BadReply { status: 200, text: "no safetensors body".to_string() })
}

fn read(body: &[u8]) -> Option<Vec<(String, Tensor)>> {
    let size = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    let split = usize::try_from(size).ok()?.checked_add(8)?;
    let header = Json::parse(std::str::from_utf8(body.get(8..split)?).ok()?).ok()?;
    let data = &body[split..];
    let mut tensors = Vec::new();
    if let Json::Object(members) = &header {
        for (name, one) in members.iter().filter(|(name, _)| name != "__metadata__") {
            let offsets = Vec::<i64>::from_json(one.get("data_offsets")?).ok()?;
            let (begin, end) =
                (usize::try_from(*offsets.first()?).ok()?, usize::try_from(*offsets.get(1)?).ok()?);
            let shape = Vec::<i64>::from_json(one.get("shape")?).ok()?;
            let tensor = Tensor {
                dtype: one.get("dtype")?.as_str()?.to_lowercase(),
                shape: shape.into_iter().map(usize::try_from).collect::<std::result::Result<_, _>>().ok()?,
                data: data.get(begin..end)?.to_vec(),
            };
            tensor.check(name, tensor.shape.len()).ok()?;
            tensors.push((name.clone(), tensor));
        }
    }
    Some(tensors)
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use crate::tensor::Tensor;

    #[test]
    fn what_is_packed_unpacks() {
        let (a, b) = (Tensor::f16(&[1, 2, 3], &[3, 1]), Tensor::f32(&[0.5], &[1]));
        let body = pack(&[("a".into(), &a), ("b".into(), &b)], &[("x".into(), "y".into())]).unwrap();
        assert_eq!(unpack(&body).unwrap(), [("a".to_string(), a), ("b".to_string(), b)]);
        for length in 0..body.len() {
            assert!(unpack(&body[..length]).is_err(), "{length} bytes");
        }
    }
}

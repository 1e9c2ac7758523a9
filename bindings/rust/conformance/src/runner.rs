// SPDX-License-Identifier: Apache-2.0
//! One case: what a step gives, and what it expects.

use mustafar::{Cache, Context, Error, Geometry, Recipe, Side};

use crate::vectors::{dtype_named, Array, Step};

/// How a step ends where it does not succeed: the library refused, or a result is not the expected one.
pub enum Stop {
    Refused(Error),
    Wrong(String),
}

pub type Outcome = Result<(), Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Wrong(why)
    }
}

pub struct Runner<'ctx> {
    pub context: &'ctx Context,
    /// the reference rows run: the first of each pair of tolerances holds
    pub strict: bool,
    /// the line of the case: geometry and recipe
    pub test: Step,
    pub caches: Vec<Option<Cache<'ctx>>>,
    pub saved: Vec<Vec<u8>>,
}

/// "geometry=layers,q_heads,kv_heads,head_dim_k,head_dim_v,dtype"
fn geometry(text: &str) -> Option<Geometry> {
    let words: Vec<&str> = text.split(',').collect();
    let number = |i: usize| words.get(i).and_then(|word| word.parse().ok());
    Some(Geometry {
        layers: number(0)?,
        q_heads: number(1)?,
        kv_heads: number(2)?,
        head_dim_k: number(3)?,
        head_dim_v: number(4)?,
        dtype: dtype_named(words.get(5)?)?,
    })
}

pub fn side(step: &Step) -> Side {
    if step.text("side") == Some("k") {
        Side::K
    } else {
        Side::V
    }
}

impl<'ctx> Runner<'ctx> {
    /// A key of the step, or of the case.
    fn of_either<'a>(&'a self, step: &'a Step, key: &str) -> &'a str {
        step.text(key).or_else(|| self.test.text(key)).unwrap_or("")
    }

    pub fn geometry(&self, step: &Step) -> Result<Geometry, Stop> {
        let text = self.of_either(step, "geometry");
        geometry(text).ok_or_else(|| Stop::Wrong(format!("a geometry that cannot be said: {}", text)))
    }

    pub fn recipe(&self, step: &Step) -> Result<Recipe, Stop> {
        Ok(Recipe::parse(self.of_either(step, "recipe"))?)
    }

    pub fn cache(&self, step: &Step) -> Result<&Cache<'ctx>, Stop> {
        self.cache_at(step.number("cache"))
    }

    pub fn cache_at(&self, slot: usize) -> Result<&Cache<'ctx>, Stop> {
        let cache = self.caches.get(slot).and_then(Option::as_ref);
        cache.ok_or_else(|| Stop::Wrong("a cache that is not there cannot be said".into()))
    }

    pub fn cache_mut(&mut self, step: &Step) -> Result<&mut Cache<'ctx>, Stop> {
        let cache = self.caches.get_mut(step.number::<usize>("cache")).and_then(Option::as_mut);
        cache.ok_or_else(|| Stop::Wrong("a cache that is not there cannot be said".into()))
    }

    /// Puts a cache into its slot; the one that was there goes.
    pub fn keep(&mut self, step: &Step, key: &str, cache: Cache<'ctx>) {
        let slot = step.number::<usize>(key);
        if self.caches.len() <= slot {
            self.caches.resize_with(slot + 1, || None);
        }
        self.caches[slot] = Some(cache);
    }

    pub fn keep_saved(&mut self, slot: usize, bytes: Vec<u8>) {
        if self.saved.len() <= slot {
            self.saved.resize_with(slot + 1, Vec::new);
        }
        self.saved[slot] = bytes;
    }

    pub fn tolerance(&self, step: &Step, key: &str) -> f64 {
        let pair: Vec<f64> = step.list(&format!("{}_tolerance", key));
        pair.get(usize::from(!self.strict)).copied().unwrap_or(0.0)
    }

    /// Relative L2 over the whole array, or the largest difference. Equal infinities differ by 0.
    pub fn expect_close(&self, step: &Step, key: &str, got: &Array, relative: bool) -> Outcome {
        let text = match step.text(key) {
            Some(text) => text,
            None => return Ok(()),
        };
        let want = Array::read(text, 0)?;
        if want.len() != got.len() {
            return Err(Stop::Wrong(format!("{}: {} numbers, not {}", key, got.len(), want.len())));
        }
        let (mut square, mut reference, mut largest) = (0.0f64, 0.0f64, 0.0f64);
        for i in 0..want.len() {
            let (a, b) = (got.value(i), want.value(i));
            if b.is_finite() {
                reference += b * b;
            }
            if a != b {
                square += (a - b) * (a - b);
                largest = largest.max(if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() });
            }
        }
        let error = if relative && reference > 0.0 { (square / reference).sqrt() } else { largest };
        let most = self.tolerance(step, key);
        if error <= most {
            return Ok(());
        }
        Err(Stop::Wrong(format!("{}: error {} exceeds {}", key, error, most)))
    }

    /// The step ended as it should: status, argument, numbers.
    pub fn answer(&self, step: &Step, outcome: Outcome) -> Result<(), String> {
        let wanted = step.text("status").unwrap_or("OK");
        let error = match outcome {
            Ok(()) if wanted == "OK" => return Ok(()),
            Ok(()) => return Err(format!("status OK, expected {}", wanted)),
            Err(Stop::Wrong(why)) => return Err(why),
            Err(Stop::Refused(error)) => error,
        };
        let got = mustafar::status_name(error.code()).trim_start_matches("MUSTAFAR_");
        if got != wanted {
            return Err(format!("status {}, expected {}: {}", got, wanted, error));
        }
        let names = step.text("names").unwrap_or("");
        if !error.message().contains(names) {
            return Err(format!("the error does not name {}: {}", names, error));
        }
        let values: Vec<i64> = step.list("error_values");
        if !error.values().starts_with(&values) {
            return Err(format!("error values are {:?}", error.values()));
        }
        Ok(())
    }
}

pub fn expect(step: &Step, key: &str, got: impl Into<u64>) -> Outcome {
    let got = got.into();
    match step.text(key) {
        Some(text) if text.parse() != Ok(got) => {
            Err(Stop::Wrong(format!("{} = {}, expected {}", key, got, text)))
        }
        _ => Ok(()),
    }
}

pub fn expect_least(step: &Step, key: &str, got: u64) -> Outcome {
    match step.parsed::<u64>(key) {
        Some(least) if got < least => Err(Stop::Wrong(format!("{}: {} is less than {}", key, got, least))),
        _ => Ok(()),
    }
}

pub fn expect_bytes(step: &Step, key: &str, got: &[u8]) -> Outcome {
    match step.text(key).map(|text| Array::read(text, 0)).transpose()? {
        None => Ok(()),
        Some(Array::U8(want)) if want == got => Ok(()),
        Some(want) => Err(Stop::Wrong(format!("{}: not the {} bytes expected", key, want.len()))),
    }
}

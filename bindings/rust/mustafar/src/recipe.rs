// SPDX-License-Identifier: Apache-2.0
//! Recipes: which elements survive, in how many bits, and how many tokens.

use std::fmt;
use std::ptr::{null_mut, NonNull};
use std::str::FromStr;

use mustafar_sys as sys;

use crate::c::{sized, text};
use crate::cache::CacheOptions;
use crate::context::created;
use crate::error::call;
use crate::types::{Bytes, Geometry, Side, SideInfo, Window};
use crate::{Error, Result};

/// An immutable recipe. Caches keep what they need, so it may be dropped at once.
///
/// ```
/// # fn main() -> mustafar::Result<()> {
/// use mustafar::{plan, CacheOptions, Geometry, Recipe, Side, ALL};
///
/// let recipe = Recipe::parse("k64i4/v128i2")?;
/// let geometry = Geometry::new(32, 32, 8, 128);
/// assert_eq!(recipe.side(&geometry, 0, 0, Side::K)?.row_bytes, 52);
/// let bytes = plan(&recipe, &geometry, &CacheOptions::new(4096), 4096, ALL)?;
/// println!("4096 tokens take {} bytes", bytes.total);
/// # Ok(()) }
/// ```
pub struct Recipe(NonNull<sys::mustafar_recipe>);

// SAFETY: "recipes never change: every call may overlap any other" (recipe.h); nothing in one belongs to a thread.
unsafe impl Send for Recipe {}
// SAFETY: as above.
unsafe impl Sync for Recipe {}

impl Recipe {
    /// A name that [`named_recipes`] lists, a shorthand ("k64i4/v128i2"), or JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let mut out = null_mut();
        // SAFETY: so many bytes of text, which need no NUL.
        call(|error| unsafe {
            sys::mustafar_recipe_parse(text.as_ptr().cast(), text.len(), &mut out, error)
        })?;
        Ok(Recipe(created(out)?))
    }

    /// The canonical JSON: every default written out. Equal recipes have equal text.
    pub fn json(&self) -> &str {
        // SAFETY: NUL-terminated, lives as long as the recipe.
        unsafe { text(sys::mustafar_recipe_json(self.raw())) }
    }

    /// XXH3-128 of the canonical JSON without name and note, 32 hex digits.
    pub fn digest(&self) -> &str {
        // SAFETY: NUL-terminated, lives as long as the recipe.
        unsafe { text(sys::mustafar_recipe_digest(self.raw())) }
    }

    /// What the recipe asks of one layer, kv head and side.
    pub fn side(&self, geometry: &Geometry, layer: u32, kv_head: u32, side: Side) -> Result<SideInfo> {
        let mut out = sized!(mustafar_side_info {});
        // SAFETY: a live handle, structs of their stated sizes.
        call(|error| unsafe {
            sys::mustafar_recipe_side(
                self.raw(),
                &geometry.raw(),
                layer,
                kv_head,
                side.code(),
                &mut out,
                error,
            )
        })?;
        SideInfo::from_raw(&out)
    }

    /// Window and budget of one kv head.
    pub fn window(&self, geometry: &Geometry, layer: u32, kv_head: u32) -> Result<Window> {
        let mut out = Window::default();
        let Window { recent, sink, step, budget } = &mut out;
        // SAFETY: a live handle, a struct of its stated size, four places to write.
        call(|error| unsafe {
            let geometry = geometry.raw();
            sys::mustafar_recipe_window(
                self.raw(),
                &geometry,
                layer,
                kv_head,
                recent,
                sink,
                step,
                budget,
                error,
            )
        })?;
        Ok(out)
    }

    pub(crate) fn raw(&self) -> *mut sys::mustafar_recipe {
        self.0.as_ptr()
    }
}

impl Drop for Recipe {
    fn drop(&mut self) {
        // SAFETY: created by the library, given back once.
        unsafe { sys::mustafar_recipe_destroy(self.raw()) }
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Recipe::parse(text)
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Eq for Recipe {}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipe").field(&self.json()).finish()
    }
}

/// Built-in recipes: name, and a sentence about it.
pub fn named_recipes() -> Vec<(&'static str, &'static str)> {
    // SAFETY: static text for every index below the count.
    unsafe {
        (0..sys::mustafar_recipe_count())
            .map(|index| (text(sys::mustafar_recipe_name(index)), text(sys::mustafar_recipe_sentence(index))))
            .collect()
    }
}

/// Bytes of a cache after `tokens` tokens were appended to every layer and committed, to the byte, without data.
/// `layer` is an index or [`crate::ALL`].
pub fn plan(
    recipe: &Recipe,
    geometry: &Geometry,
    options: &CacheOptions,
    tokens: u32,
    layer: u32,
) -> Result<Bytes> {
    let mut out = sized!(mustafar_bytes {});
    // SAFETY: a live handle, structs of their stated sizes.
    call(|error| unsafe {
        let (geometry, options) = (geometry.raw(), options.raw());
        sys::mustafar_plan(recipe.raw(), &geometry, &options, tokens, layer, &mut out, error)
    })?;
    Ok(Bytes::from_raw(&out))
}

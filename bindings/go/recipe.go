// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import "runtime"

// Recipe says which elements survive, in how many bits, and how large the window is. It never changes; caches
// keep what they need, so it may be closed once they are made.
type Recipe struct {
	access
	raw          *C.mustafar_recipe
	json, digest string
}

// ParseRecipe makes a recipe of a name that NamedRecipes lists ("lean"), a shorthand ("k64i4/v128i2") or JSON.
func ParseRecipe(text string) (*Recipe, error) {
	if err := usable("mustafar_recipe_parse"); err != nil {
		return nil, err
	}
	bytes := []byte(text + "\x00") // never empty, so that there is an address
	result := C.mustafar_go_recipe_parse(charsOf(bytes), C.size_t(len(text)))
	if err := failure(&result.error); err != nil {
		return nil, err
	}
	r := &Recipe{
		access: access{opened: true},
		raw:    result.recipe,
		json:   C.GoString(result.json),
		digest: C.GoString(result.digest),
	}
	runtime.SetFinalizer(r, (*Recipe).Close)
	return r, nil
}

// Close gives the recipe back. It may be called again; ErrBusy while another goroutine is in a call with it.
func (r *Recipe) Close() error {
	if r == nil {
		return nil
	}
	if err := r.acquireAlone("mustafar_recipe_destroy", "recipe"); err != nil {
		return unlessClosed(err)
	}
	defer r.releaseAlone()
	C.mustafar_recipe_destroy(r.raw) // accepts NULL
	r.raw, r.opened = nil, false
	runtime.SetFinalizer(r, nil)
	return nil
}

// JSON returns the canonical text: every default written out. Equal recipes have equal text. It outlives Close.
func (r *Recipe) JSON() string {
	if r == nil {
		return ""
	}
	return r.json
}

// Digest returns XXH3-128 of the canonical text without name and note, 32 hex digits. It outlives Close.
func (r *Recipe) Digest() string {
	if r == nil {
		return ""
	}
	return r.digest
}

// Side tells what the recipe asks of one layer, kv head and side of a geometry.
func (r *Recipe) Side(geometry Geometry, layer, kvHead int, side Side) (SideInfo, error) {
	a := arguments{call: "mustafar_recipe_side"}
	shape := a.geometry(geometry)
	l, h, s := a.number("layer", layer), a.number("kv_head", kvHead), a.number("side", int(side))
	if a.err != nil {
		return SideInfo{}, a.err
	}
	if err := r.use(a.call); err != nil {
		return SideInfo{}, err
	}
	defer r.release()
	result := C.mustafar_go_recipe_side(r.raw, shape, l, h, s)
	info := &result.info
	return SideInfo{
		HeadDim:   int(info.head_dim),
		Keep:      int(info.keep),
		Bits:      int(info.bits),
		Encoding:  Encoding(info.encoding),
		Method:    PruneMethod(info.method),
		Group:     int(info.group),
		Centred:   info.centred != 0,
		RowBytes:  uint64(info.row_bytes),
		PageBytes: uint64(info.page_bytes),
	}, failure(&result.error)
}

// Window tells window and budget of one kv head.
func (r *Recipe) Window(geometry Geometry, layer, kvHead int) (Window, error) {
	a := arguments{call: "mustafar_recipe_window"}
	shape := a.geometry(geometry)
	l, h := a.number("layer", layer), a.number("kv_head", kvHead)
	if a.err != nil {
		return Window{}, a.err
	}
	if err := r.use(a.call); err != nil {
		return Window{}, err
	}
	defer r.release()
	result := C.mustafar_go_recipe_window(r.raw, shape, l, h)
	n := &result.number
	return Window{int(n[0]), int(n[1]), int(n[2]), int(n[3])}, failure(&result.error)
}

// use is acquire for a recipe that may be nil.
func (r *Recipe) use(call string) error {
	if r == nil {
		return closedError(call, "recipe")
	}
	return r.acquire(call, "recipe")
}

// Plan tells the bytes of a cache after `tokens` tokens were appended to every layer and committed, to the byte
// and without data. layer is an index or All.
func Plan(recipe *Recipe, geometry Geometry, options CacheOptions, tokens, layer int) (Bytes, error) {
	a := arguments{call: "mustafar_plan"}
	shape, limits := a.geometry(geometry), a.cacheOptions(options)
	count, l := a.number("tokens", tokens), a.number("layer", layer)
	if a.err != nil {
		return Bytes{}, a.err
	}
	if err := recipe.use(a.call); err != nil {
		return Bytes{}, err
	}
	defer recipe.release()
	result := C.mustafar_go_plan(recipe.raw, shape, limits, count, l)
	return bytesOf(&result.bytes), failure(&result.error)
}

// NamedRecipe is a recipe that ParseRecipe knows by name.
type NamedRecipe struct {
	Name     string
	Sentence string // what it is good for
}

// NamedRecipes lists the built-in recipes.
func NamedRecipes() []NamedRecipe {
	all := make([]NamedRecipe, C.mustafar_recipe_count())
	for i := range all {
		all[i].Name = C.GoString(C.mustafar_recipe_name(C.size_t(i)))
		all[i].Sentence = C.GoString(C.mustafar_recipe_sentence(C.size_t(i)))
	}
	return all
}

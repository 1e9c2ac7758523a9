// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing/iotest"

	"mustafar"
)

// Steps that make or change caches.

var methods = map[string]mustafar.PruneMethod{
	"recipe": mustafar.PruneRecipe, "none": mustafar.PruneNone, "token_topk": mustafar.PruneTokenTopK,
	"n_m": mustafar.PruneNM, "channels": mustafar.PruneChannels, "channel_topk": mustafar.PruneChannelTopK,
	"threshold": mustafar.PruneThreshold, "mask": mustafar.PruneMask,
}

func cacheOptions(s step) mustafar.CacheOptions {
	return mustafar.CacheOptions{
		MaxTokens:     s.int("max_tokens"),
		ReserveTokens: s.int("reserve_tokens"),
		Manual:        !s.flag("auto", true),
	}
}

func (r *runner) create(s step) error {
	recipe, err := r.parse(s)
	if err != nil {
		return err
	}
	defer recipe.Close()
	cache, err := mustafar.NewCache(r.context, r.geometry(s), recipe, cacheOptions(s))
	return r.put(s.int("cache"), cache, err)
}

func (r *runner) append(s step) error {
	shape, tokens := r.geometry(s), s.int("tokens")
	side := func(name string, d int) mustafar.Tensor {
		count := tokens * shape.KVHeads * d
		if s.has(name + "_count") {
			count = s.int(name + "_count")
		}
		return s.tensor(name, readArray(s.text(name), count), tokens, shape.KVHeads, d)
	}
	var flags []mustafar.AppendFlags
	if s.flag("tentative", false) {
		flags = append(flags, mustafar.AppendTentative)
	}
	return r.cache(s).Append(s.int("layer"), side("k", shape.HeadDimK), side("v", shape.HeadDimV), flags...)
}

func (r *runner) commit(s step) error   { return r.cache(s).Commit(s.index("layer")) }
func (r *runner) compress(s step) error { return r.cache(s).Compress(s.index("layer")) }
func (r *runner) reset(s step) error    { return r.cache(s).Reset() }

func (r *runner) truncate(s step) error {
	if s.flag("keep_packed", false) {
		return r.cache(s).Truncate(s.int("length"), mustafar.TruncateKeepPacked)
	}
	return r.cache(s).Truncate(s.int("length"))
}

func (r *runner) prune(s step) error {
	shape, heads, head := r.geometry(s), 1, s.index("head")
	if head == mustafar.All {
		heads = shape.KVHeads
	}
	d := shape.HeadDimV
	if s.side() == mustafar.K {
		d = shape.HeadDimK
	}
	begin, end := s.int("begin"), s.int("end")
	span := end - begin
	if span < 0 {
		span = 0
	}
	given := func(key string, dims ...int) mustafar.Tensor {
		if !s.has(key) {
			return mustafar.Tensor{}
		}
		count := 1
		for _, dim := range dims {
			count *= dim
		}
		return readArray(s.text(key), count).tensor(dims...)
	}
	method, known := methods[s.text("method")]
	if !known {
		fail("unknown method")
	}
	return r.cache(s).Prune(s.index("layer"), head, s.side(), begin, end, mustafar.PruneOptions{
		Method:         method,
		Keep:           s.int("keep"),
		Of:             s.int("of"),
		Threshold:      float32(s.float("threshold")),
		ChannelWeights: given("channel_weights", heads, d),
		TokenWeights:   given("token_weights", heads, span),
		Mask:           given("mask", heads, span, d/8),
	})
}

func (r *runner) evict(s step) error {
	var positions []int32
	for _, position := range s.ints("positions") {
		positions = append(positions, int32(position))
	}
	var flags []mustafar.EvictFlags
	if s.flag("keep", false) {
		flags = append(flags, mustafar.EvictKeep)
	}
	return r.cache(s).Evict(s.int("layer"), s.int("head"), positions, flags...)
}

func (r *runner) evictScores(s step) error {
	count := s.int("count")
	if !s.has("count") {
		rows, err := r.cache(s).Rows(s.int("layer"), s.int("head"))
		if err != nil {
			fail("rows: %v", err)
		}
		count = rows.Rows
	}
	scores := readArray(s.text("scores"), count).floats
	return r.cache(s).EvictScores(s.int("layer"), s.int("head"), scores, s.int("budget"))
}

func (r *runner) fork(s step) error {
	made, err := r.cache(s).Fork()
	return r.put(s.int("to"), made, err)
}

func (r *runner) save(s step) error {
	var out bytes.Buffer
	if err := r.cache(s).Save(s.text("model_id"), &out); err != nil {
		return err
	}
	if s.has("snapshot") {
		expectBytes("snapshot", out.Bytes(), s.text("snapshot"))
	}
	if s.has("same_as") && !bytes.Equal(out.Bytes(), r.saved[s.int("same_as")]) {
		fail("not the bytes of the earlier save")
	}
	r.saved[s.int("cache")] = out.Bytes()
	return nil
}

// load: damage is applied to a copy: "patch" [offset, byte, ...], then "cut" to so many bytes.
func (r *runner) load(s step) error {
	saved, ok := r.saved[s.int("saved")]
	if !ok {
		fail("nothing was saved")
	}
	data := append([]byte(nil), saved...)
	for patch := s.ints("patch"); len(patch) > 1; patch = patch[2:] {
		data[patch[0]] = byte(patch[1])
	}
	if s.has("cut") {
		data = data[:s.int("cut")]
	}
	var options mustafar.LoadOptions
	if s.has("geometry") {
		shape := r.geometry(s)
		options.Geometry = &shape
	}
	if s.has("recipe") {
		recipe, err := r.parse(s)
		if err != nil {
			return err
		}
		defer recipe.Close()
		options.Recipe = recipe
	}
	if s.has("model_id") {
		model := s.text("model_id")
		options.ModelID = &model
	}
	if s.has("max_tokens") || s.has("auto") {
		limits := cacheOptions(s)
		options.Options = &limits
	}
	made, err := mustafar.Load(r.context, options, iotest.HalfReader(bytes.NewReader(data)))
	return r.put(s.int("to"), made, err)
}

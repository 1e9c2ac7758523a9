// SPDX-License-Identifier: Apache-2.0

package main

import "mustafar"

// Steps that ask a cache or a recipe.

func (r *runner) state(s step) error {
	cache, layer, head := r.cache(s), s.int("layer"), s.int("head")
	length, err := cache.Length(layer)
	if err != nil {
		return err
	}
	rows, err := cache.Rows(layer, head)
	if err != nil {
		return err
	}
	s.expect("committed", int64(length.Committed))
	s.expect("tentative", int64(length.Tentative))
	s.expect("rows", int64(rows.Rows))
	s.expect("body", int64(rows.Body))
	positions, err := cache.Positions(layer, head)
	if err != nil {
		return err
	}
	want := s.ints("positions")
	if len(positions) != len(want) {
		fail("%d positions, expected %d", len(positions), len(want))
	}
	for i, position := range positions {
		if int(position) != want[i] {
			fail("positions[%d] = %d, expected %d", i, position, want[i])
		}
	}
	return nil
}

func (r *runner) export(s step) error {
	values, bitmaps, err := r.cache(s).Export(s.int("layer"), s.int("head"), s.side(), s.int("begin"), s.int("end"))
	if err != nil {
		return err
	}
	expectBytes("bitmaps", bitmaps, s.text("bitmaps"))
	if s.has("values") {
		s.expectClose("values", &array{dtype: mustafar.F32Type, floats: values}, r.strict, true)
	}
	return nil
}

// bytes: alignment is the backend's own business (docs/format.md, section 4), so slack is compared for ref alone.
func (r *runner) bytes(s step) error {
	got, err := r.cache(s).Bytes(s.index("layer"), s.index("head"))
	if err != nil {
		return err
	}
	s.expect("values", int64(got.Values))
	s.expect("bitmaps", int64(got.Bitmaps))
	s.expect("meta", int64(got.Meta))
	if r.strict {
		s.expect("slack", int64(got.Slack))
	}
	s.expectLeast("window_least", got.Window)
	s.expectLeast("positions_least", got.Positions)
	if s.has("positions_least") && s.int("positions_least") == 0 && got.Positions != 0 {
		fail("positions before any eviction")
	}
	sum := got.Values + got.Bitmaps + got.Meta + got.Slack + got.Window + got.Positions + got.Tables
	if sum != got.Total {
		fail("total is not the sum of the parts")
	}
	return nil
}

// plan: what it foretells is what the cache occupies; of ragged rows, at least that.
func (r *runner) plan(s step) error {
	recipe, err := r.parse(s)
	if err != nil {
		return err
	}
	defer recipe.Close()
	made, err := r.cache(s).Describe()
	if err != nil {
		return err
	}
	got, err := mustafar.Plan(recipe, r.geometry(s), made.Options, s.int("tokens"), mustafar.All)
	if err != nil {
		return err
	}
	want, err := r.cache(s).Bytes(mustafar.All, mustafar.All)
	if err != nil {
		return err
	}
	fits := got.Total >= want.Total
	if got.Exact {
		fits = got.Total == want.Total && got.Values == want.Values && got.Window == want.Window && got.Tables == want.Tables
	}
	if !fits {
		fail("plan says %+v, the cache takes %+v", got, want)
	}
	return nil
}

func (r *runner) stats(s step) error {
	got, err := r.cache(s).Stats()
	if err != nil {
		return err
	}
	s.expect("longest", int64(got.Longest))
	s.expect("rows", int64(got.Rows))
	s.expect("body_rows", int64(got.BodyRows))
	s.expect("evicted_rows", int64(got.EvictedRows))
	s.expect("pages", int64(got.Pages))
	s.expect("shared_pages", int64(got.SharedPages))
	s.expect("dense_bytes", int64(got.DenseBytes))
	s.expect("appended_tokens", int64(got.AppendedTokens))
	s.expect("packed_rows", int64(got.PackedRows))
	return nil
}

func (r *runner) recipe(s step) error {
	made, err := r.parse(s)
	if err != nil {
		return err
	}
	defer made.Close()
	if s.has("canonical") && made.JSON() != s.text("canonical") {
		fail("canonical text is %s", made.JSON())
	}
	return nil
}

func (r *runner) side(s step) error {
	recipe, err := r.parse(s)
	if err != nil {
		return err
	}
	defer recipe.Close()
	got, err := recipe.Side(r.geometry(s), s.int("layer"), s.int("head"), s.side())
	if err != nil {
		return err
	}
	s.expect("keep", int64(got.Keep))
	s.expect("bits", int64(got.Bits))
	s.expect("encoding", int64(got.Encoding))
	s.expect("method", int64(got.Method))
	s.expect("group", int64(got.Group))
	centred := int64(0)
	if got.Centred {
		centred = 1
	}
	s.expect("centred", centred)
	s.expect("row_bytes", int64(got.RowBytes))
	if r.strict {
		s.expect("page_bytes", int64(got.PageBytes))
	}
	return nil
}

func (r *runner) window(s step) error {
	recipe, err := r.parse(s)
	if err != nil {
		return err
	}
	defer recipe.Close()
	got, err := recipe.Window(r.geometry(s), s.int("layer"), s.int("head"))
	if err != nil {
		return err
	}
	s.expect("recent", int64(got.Recent))
	s.expect("sink", int64(got.Sink))
	s.expect("step", int64(got.Step))
	s.expect("budget", int64(got.Budget))
	return nil
}

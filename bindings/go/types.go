// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

// Side is a half of the cache.
type Side int

// The two sides.
const (
	K Side = C.MUSTAFAR_SIDE_K
	V Side = C.MUSTAFAR_SIDE_V
)

// Encoding is how body rows are laid out.
type Encoding int

// The row encodings (docs/format.md, section 3).
const (
	EncodingExact   Encoding = C.MUSTAFAR_ENCODING_EXACT
	EncodingRagged  Encoding = C.MUSTAFAR_ENCODING_RAGGED
	EncodingGrouped Encoding = C.MUSTAFAR_ENCODING_GROUPED
	EncodingChannel Encoding = C.MUSTAFAR_ENCODING_CHANNEL
)

// PruneMethod is how the elements that survive are chosen.
type PruneMethod int

// The prune methods (docs/format.md, section 2).
const (
	PruneRecipe      PruneMethod = C.MUSTAFAR_PRUNE_RECIPE       // whatever the recipe says
	PruneNone        PruneMethod = C.MUSTAFAR_PRUNE_NONE         // keep all
	PruneTokenTopK   PruneMethod = C.MUSTAFAR_PRUNE_TOKEN_TOPK   // the k largest magnitudes of each row
	PruneNM          PruneMethod = C.MUSTAFAR_PRUNE_N_M          // the n largest of every m neighbouring channels
	PruneChannels    PruneMethod = C.MUSTAFAR_PRUNE_CHANNELS     // k whole channels of a head
	PruneChannelTopK PruneMethod = C.MUSTAFAR_PRUNE_CHANNEL_TOPK // in each channel, k of every 32 rows
	PruneThreshold   PruneMethod = C.MUSTAFAR_PRUNE_THRESHOLD    // magnitudes of at least t
	PruneMask        PruneMethod = C.MUSTAFAR_PRUNE_MASK         // the bits the caller gives
)

// LogLevel is how fine a log is.
type LogLevel int

// The levels of a log.
const (
	LogError   LogLevel = C.MUSTAFAR_LOG_ERROR
	LogWarning LogLevel = C.MUSTAFAR_LOG_WARNING
	LogInfo    LogLevel = C.MUSTAFAR_LOG_INFO
	LogTrace   LogLevel = C.MUSTAFAR_LOG_TRACE // one line per call that changes, forks or saves a cache
)

// Flags of Append, Evict and Truncate; any number of them may be given, or none.
type (
	AppendFlags   uint32
	EvictFlags    uint32
	TruncateFlags uint32
)

const (
	// AppendTentative marks tokens that are attended and truncated like others, but packed only after Commit.
	AppendTentative AppendFlags = C.MUSTAFAR_APPEND_TENTATIVE
	// EvictKeep says that the positions given are the ones to keep.
	EvictKeep EvictFlags = C.MUSTAFAR_EVICT_KEEP
	// TruncateKeepPacked accepts packed rows inside the window.
	TruncateKeepPacked TruncateFlags = C.MUSTAFAR_TRUNCATE_KEEP_PACKED
)

// Geometry is the shape of a model's cache. Query head h reads kv head h / (QHeads / KVHeads).
type Geometry struct {
	Layers   int   // 1..4096
	QHeads   int   // a multiple of KVHeads
	KVHeads  int   // 1..1024
	HeadDimK int   // 32..256 in steps of 8
	HeadDimV int   // likewise; 0 = HeadDimK
	DType    DType // F16Type or BF16Type: how 16-bit values are stored; 0 = F16Type
}

func geometryOf(g *C.mustafar_geometry) Geometry {
	return Geometry{
		Layers:   int(g.layers),
		QHeads:   int(g.q_heads),
		KVHeads:  int(g.kv_heads),
		HeadDimK: int(g.head_dim_k),
		HeadDimV: int(g.head_dim_v),
		DType:    DType(g.dtype),
	}
}

// CacheOptions are the limits of a cache.
type CacheOptions struct {
	MaxTokens     int  // per layer; required, there is no good default
	ReserveTokens int  // memory for so many tokens is taken at creation
	Manual        bool // pack only in Compress; else rows are packed as they leave the window
}

// Bytes are the bytes of a cache by part. Total is their sum and what the allocator handed out.
type Bytes struct {
	Exact     bool // false where a plan is an upper bound, since the data decide
	Total     uint64
	Values    uint64 // codes of body rows that are in use
	Bitmaps   uint64 // their bitmaps, and the offsets of ragged rows
	Meta      uint64 // their scales and zeros
	Slack     uint64 // alignment, unfilled and evicted rows, readable padding of pages
	Window    uint64 // dense rows: the whole buffers, filled or not, and prune marks
	Positions uint64 // int32 per row, once a head has evicted
	Tables    uint64 // page headers and tables, per-head records, centres, the cache itself
}

func bytesOf(b *C.mustafar_bytes) Bytes {
	return Bytes{
		Exact:     b.exact != 0,
		Total:     uint64(b.total),
		Values:    uint64(b.values),
		Bitmaps:   uint64(b.bitmaps),
		Meta:      uint64(b.meta),
		Slack:     uint64(b.slack),
		Window:    uint64(b.window),
		Positions: uint64(b.positions),
		Tables:    uint64(b.tables),
	}
}

// ContextStats are memory and caches of a context. LiveBytes = PageBytes + CacheBytes + WorkBytes.
type ContextStats struct {
	Threads     int
	LiveBytes   uint64 // handed out by the allocator and not given back
	PeakBytes   uint64
	QuotaBytes  uint64 // 0 = no limit
	Allocations uint64 // calls of the allocator so far
	PageBytes   uint64 // in pages, each shared page once
	CacheBytes  uint64 // of caches besides pages
	WorkBytes   uint64 // of workspaces
	Pages       uint64
	SharedPages uint64 // pages that more than one cache holds
	Caches      uint64
}

// CacheStats are counters of a cache.
type CacheStats struct {
	Longest        int    // tokens of the longest layer
	Rows           uint64 // held, all layers and kv heads
	BodyRows       uint64 // packed ones among them
	EvictedRows    uint64 // since creation or reset
	Pages          uint64
	SharedPages    uint64 // pages that another cache holds as well
	DenseBytes     uint64 // what these rows would take as plain 16-bit values
	AppendedTokens uint64 // per layer, since creation
	PackedRows     uint64 // K and V count as one, since creation
	AttendCalls    uint64 // layers attended, since creation
	AppendNs       uint64 // wall time in append and commit, packing included
	PackNs         uint64 // wall time in prune, quantize and pack, wherever it happened
	AttendNs       uint64 // wall time in attend
	AttendKernel   string // rows of the dispatch tables that serve this cache
	PackKernel     string
}

// SideInfo is what a recipe means for one side of one kv head.
type SideInfo struct {
	HeadDim   int         // d
	Keep      int         // elements of d kept in each row; 0 where the data decide
	Bits      int         // 16, 8, 4, 2
	Encoding  Encoding    //
	Method    PruneMethod //
	Group     int         // channels per scale of EncodingGrouped, else 0
	Centred   bool        // a fixed vector is subtracted first
	RowBytes  uint64      // of one body row; 0 for ragged rows
	PageBytes uint64      // of this side in a page of 32 rows, alignment included; 0 for ragged rows
}

// Window is the window and the budget of one kv head.
type Window struct {
	Recent int // newest tokens kept dense
	Sink   int // first tokens kept dense
	Step   int // rows packed at a time
	Budget int // tokens the head may hold after eviction; 0 = no limit
}

// Length is the tokens of a layer.
type Length struct {
	Committed int
	Tentative int // behind the committed ones
}

// Total is the position of the next token.
func (l Length) Total() int { return l.Committed + l.Tentative }

// Rows is the rows a kv head holds.
type Rows struct {
	Rows int // all of them
	Body int // the packed ones among them
}

// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The package against capi/abi/api.json: nothing is missing, renamed or laid out otherwise.

type field struct {
	Name, Type    string
	Offset, Bytes uintptr
}

type abi struct {
	Functions, Inline []struct {
		Name      string
		Arguments []struct{ Name, Type string }
	}
	Constants map[string]any
	Structs   map[string]struct {
		Size   uintptr
		Fields []field
	}
	Defaults map[string]map[string]any
}

func readABI(t *testing.T) (api abi) {
	text, err := os.ReadFile(filepath.Join("..", "..", "capi", "abi", "api.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &api))
	return api
}

// Where each C function is in this package.
var wrapped = map[string]any{
	"mustafar_version":            Version,
	"mustafar_abi_version":        ABIVersion,
	"mustafar_build_text":         BuildText,
	"mustafar_status_name":        Status.Error,
	"mustafar_dtype_name":         DType.String,
	"mustafar_kernel_count":       Kernels,
	"mustafar_kernel_at":          Kernels,
	"mustafar_context_create":     NewContext,
	"mustafar_context_destroy":    (*Context).Close,
	"mustafar_context_kernel":     (*Context).Kernel,
	"mustafar_context_get_stats":  (*Context).Stats,
	"mustafar_recipe_parse":       ParseRecipe,
	"mustafar_recipe_destroy":     (*Recipe).Close,
	"mustafar_recipe_json":        (*Recipe).JSON,
	"mustafar_recipe_digest":      (*Recipe).Digest,
	"mustafar_recipe_count":       NamedRecipes,
	"mustafar_recipe_name":        NamedRecipes,
	"mustafar_recipe_sentence":    NamedRecipes,
	"mustafar_recipe_side":        (*Recipe).Side,
	"mustafar_recipe_window":      (*Recipe).Window,
	"mustafar_cache_create":       NewCache,
	"mustafar_cache_destroy":      (*Cache).Close,
	"mustafar_cache_fork":         (*Cache).Fork,
	"mustafar_cache_append":       (*Cache).Append,
	"mustafar_cache_commit":       (*Cache).Commit,
	"mustafar_cache_prune":        (*Cache).Prune,
	"mustafar_cache_compress":     (*Cache).Compress,
	"mustafar_cache_evict":        (*Cache).Evict,
	"mustafar_cache_evict_scores": (*Cache).EvictScores,
	"mustafar_cache_truncate":     (*Cache).Truncate,
	"mustafar_cache_reset":        (*Cache).Reset,
	"mustafar_cache_length":       (*Cache).Length,
	"mustafar_cache_rows":         (*Cache).Rows,
	"mustafar_cache_positions":    (*Cache).Positions,
	"mustafar_cache_export":       (*Cache).Export,
	"mustafar_cache_describe":     (*Cache).Describe,
	"mustafar_cache_bytes":        (*Cache).Bytes,
	"mustafar_cache_get_stats":    (*Cache).Stats,
	"mustafar_plan":               Plan,
	"mustafar_attend":             Attend,
	"mustafar_merge":              Merge,
	"mustafar_cache_save":         (*Cache).Save,
	"mustafar_cache_save_file":    (*Cache).SaveFile,
	"mustafar_cache_load":         Load,
	"mustafar_cache_load_file":    LoadFile,
}

var notWrapped = map[string]string{
	"mustafar_tensor_from_dlpack": "inline; Go has no producers of DLPack tensors",
	"mustafar_dl_refuse":          "inline, a part of mustafar_tensor_from_dlpack",
}

func TestEveryFunctionIsWrappedOrListed(t *testing.T) {
	api := readABI(t)
	sources := ""
	for _, pattern := range []string{"*.go", "*.c"} {
		paths, err := filepath.Glob(pattern)
		check(t, err)
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				text, err := os.ReadFile(path)
				check(t, err)
				sources += string(text)
			}
		}
	}
	seen := 0
	for _, function := range append(api.Functions, api.Inline...) {
		if reason, ok := notWrapped[function.Name]; ok && reason != "" {
			continue
		}
		if wrapped[function.Name] == nil {
			t.Errorf("%s is neither wrapped nor listed with a reason", function.Name)
		} else if !strings.Contains(sources, function.Name+"(") {
			t.Errorf("%s is said to be wrapped, but nothing calls it", function.Name)
		}
		seen++
	}
	if seen != len(wrapped) {
		t.Errorf("%d functions are said to be wrapped, %d exist", len(wrapped), seen)
	}
}

func TestConstants(t *testing.T) {
	ours := map[string]any{
		"OK": OK, "INVALID_ARGUMENT": ErrInvalidArgument, "UNSUPPORTED": ErrUnsupported, "OUT_OF_MEMORY": ErrOutOfMemory,
		"CAPACITY": ErrCapacity, "BAD_STATE": ErrBadState, "NON_FINITE": ErrNonFinite, "NOT_EXACT": ErrNotExact,
		"CORRUPT": ErrCorrupt, "MISMATCH": ErrMismatch, "IO": ErrIO, "DEVICE": ErrDevice, "INTERNAL": ErrInternal,
		"F32": F32Type, "F16": F16Type, "BF16": BF16Type, "U8": U8Type, "I32": I32Type, "SIDE_K": K, "SIDE_V": V,
		"ENCODING_EXACT": EncodingExact, "ENCODING_RAGGED": EncodingRagged, "ENCODING_GROUPED": EncodingGrouped,
		"ENCODING_CHANNEL": EncodingChannel, "PRUNE_RECIPE": PruneRecipe, "PRUNE_NONE": PruneNone,
		"PRUNE_TOKEN_TOPK": PruneTokenTopK, "PRUNE_N_M": PruneNM, "PRUNE_CHANNELS": PruneChannels,
		"PRUNE_CHANNEL_TOPK": PruneChannelTopK, "PRUNE_THRESHOLD": PruneThreshold, "PRUNE_MASK": PruneMask,
		"LOG_ERROR": LogError, "LOG_WARNING": LogWarning, "LOG_INFO": LogInfo, "LOG_TRACE": LogTrace,
		"APPEND_TENTATIVE": AppendTentative, "EVICT_KEEP": EvictKeep, "TRUNCATE_KEEP_PACKED": TruncateKeepPacked,
		"ALL": All, "MAX_DIMS": MaxDims, "MODEL_ID_MAX": ModelIDMax,
	}
	for name, value := range hiddenConstants() {
		ours[strings.TrimPrefix(name, "MUSTAFAR_")] = value
	}
	told := readABI(t).Constants
	for name, want := range told {
		got, ok := ours[strings.TrimPrefix(name, "MUSTAFAR_")]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		number, isNumber := want.(float64)
		value := reflect.ValueOf(got)
		switch {
		case isNumber && value.CanInt() && float64(value.Int()) == number:
		case isNumber && value.CanUint() && float64(value.Uint()) == number:
		case !isNumber && got == want:
		default:
			t.Errorf("%s is %v, expected %v", name, got, want)
		}
	}
	if len(ours) != len(told) {
		t.Errorf("%d constants here, %d in C", len(ours), len(told))
	}
}

func TestStructLayouts(t *testing.T) {
	ours := layouts()
	for name, told := range readABI(t).Structs {
		if strings.HasPrefix(name, "mustafar_dl_") {
			continue
		}
		made, ok := ours[name]
		if !ok {
			t.Errorf("%s is not compared", name)
			continue
		}
		if made.Size() != told.Size || made.NumField() != len(told.Fields) {
			t.Errorf("%s: %d bytes, %d fields; expected %d and %d", name, made.Size(), made.NumField(), told.Size, len(told.Fields))
			continue
		}
		for i, want := range told.Fields {
			got := made.Field(i)
			if got.Name != want.Name || got.Offset != want.Offset || got.Type.Size() != want.Bytes {
				t.Errorf("%s.%s is %s at %d, %d bytes; expected %+v", name, want.Name, got.Name, got.Offset, got.Type.Size(), want)
			}
		}
	}
}

// The fields of the Go structs are those of C, in its order.
func TestGoStructsFollowC(t *testing.T) {
	structs := readABI(t).Structs
	for name, made := range map[string]any{
		"mustafar_geometry": Geometry{}, "mustafar_bytes": Bytes{}, "mustafar_context_stats": ContextStats{},
		"mustafar_cache_stats": CacheStats{}, "mustafar_kernel_info": KernelInfo{}, "mustafar_side_info": SideInfo{},
	} {
		var want, got []string
		for _, f := range structs[name].Fields {
			if f.Name != "struct_size" && f.Name != "reserved" {
				want = append(want, strings.ReplaceAll(f.Name, "_", ""))
			}
		}
		for i := 0; i < reflect.TypeOf(made).NumField(); i++ {
			got = append(got, strings.ToLower(reflect.TypeOf(made).Field(i).Name))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, expected %v", name, got, want)
		}
	}
}

// The zero value of the options means what the ..._INIT macros mean.
func TestDefaults(t *testing.T) {
	defaults := readABI(t).Defaults
	for name, fields := range defaults {
		for field, value := range fields {
			number, _ := value.(float64)
			switch {
			case field == "struct_size":
			case name == "mustafar_cache_options" && field == "flags": // Manual: false
				if number != 1 {
					t.Errorf("%s.%s = %v: Manual no longer is its opposite", name, field, value)
				}
			case number != 0:
				t.Errorf("%s.%s = %v: a zero in Go no longer is the default", name, field, value)
			}
		}
	}
	cache := newTestCache(t, "dense", CacheOptions{})
	made := must[Description](t)(cache.Describe())
	want := Geometry{Layers: 1, QHeads: 4, KVHeads: 2, HeadDimK: 32, HeadDimV: 32, DType: F16Type}
	if made.Geometry != want || made.Options != (CacheOptions{MaxTokens: 512}) {
		t.Errorf("made with %+v", made)
	}
}

func TestVersions(t *testing.T) {
	if Version() != readABI(t).Constants["MUSTAFAR_VERSION"] || ABIVersion() != 0 {
		t.Errorf("version %s, ABI %d", Version(), ABIVersion())
	}
	if !strings.Contains(BuildText(), "libmustafar") {
		t.Errorf("build text %q", BuildText())
	}
	if ErrNonFinite.Error() != "MUSTAFAR_NON_FINITE" || Status(77).Error() != "MUSTAFAR_UNKNOWN" {
		t.Errorf("%v, %v", ErrNonFinite, Status(77))
	}
	if F16Type.String() != "f16" || DType(77).String() != "unknown" {
		t.Errorf("%v, %v", F16Type, DType(77))
	}
}

func TestKernels(t *testing.T) {
	names := must[[]string](t)(Backends())
	if !strings.Contains(strings.Join(names, " "), "ref") {
		t.Errorf("backends %v", names)
	}
	for _, row := range must[[]KernelInfo](t)(Kernels()) {
		if row.Op == "" || row.Name == "" || row.Backend == "" || row.Available != (row.Reason == "") {
			t.Errorf("%+v", row)
		}
	}
}

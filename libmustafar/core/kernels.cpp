// SPDX-License-Identifier: Apache-2.0
// The only place that chooses. Best first; the first row that can, does.
#include "core/kernels.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "cpu/features.hpp"
#include "cpu/rows.hpp"
#if defined(MUSTAFAR_HAVE_CUDA)
#include "cuda/rows.hpp"
#endif

namespace mustafar {
namespace {

template <typename Function>
struct Candidate {
    KernelRow row;
    Function function;
};
template <typename Function>
using Table = std::vector<Candidate<Function>>;

struct Tables {
    Table<PruneFn> prune;
    Table<PackFn> pack;
    Table<UnpackFn> unpack;
    Table<AttendFn> attend;
    Table<MergeFn> merge;
    Table<OrderFn> order;
    std::vector<KernelRow> rows; // of all of them
};

// Best first. A backend that lacks a row here uses the next one below it.
constexpr std::string_view backend_order[] = {"avx512fp16", "avx512", "avx2",
                                              "neon",       "cuda",   "ref"};

const char* missing_nothing() { return nullptr; }

Tables make_tables() {
    Tables all;
    all.prune = {
#if defined(MUSTAFAR_HAVE_X86)
        {{"prune", "avx512", "prune_avx512", cpu::missing_avx512}, prune_avx512},
        {{"prune", "avx2", "prune_avx2", cpu::missing_avx2}, prune_avx2},
#endif
        {{"prune", "ref", "prune_ref", missing_nothing}, prune_ref},
    };
    all.pack = {
#if defined(MUSTAFAR_HAVE_X86)
        {{"pack", "avx512", "pack_avx512", cpu::missing_avx512}, pack_avx512},
        {{"pack", "avx2", "pack_avx2", cpu::missing_avx2}, pack_avx2},
#endif
        {{"pack", "ref", "pack_ref", missing_nothing}, pack_ref},
    };
    all.unpack = {
        {{"unpack", "ref", "unpack_ref", missing_nothing}, unpack_ref},
    };
    all.attend = {
#if defined(MUSTAFAR_HAVE_X86)
        {{"attend", "avx512fp16", "attend_avx512fp16", cpu::missing_avx512fp16}, attend_avx512fp16},
        {{"attend", "avx512", "attend_avx512", cpu::missing_avx512}, attend_avx512},
        {{"attend", "avx2", "attend_avx2", cpu::missing_avx2}, attend_avx2},
#endif
#if defined(MUSTAFAR_HAVE_NEON)
        {{"attend", "neon", "attend_neon", cpu::missing_neon}, attend_neon},
#endif
#if defined(MUSTAFAR_HAVE_CUDA)
        {{"attend", "cuda", "attend_cuda", cuda::missing}, attend_cuda},
#endif
        {{"attend", "ref", "attend_ref", missing_nothing}, attend_ref},
    };
    all.merge = {
        {{"merge", "ref", "merge_ref", missing_nothing}, merge_ref},
    };
    all.order = {
#if defined(MUSTAFAR_HAVE_X86)
        {{"order", "avx512", "order_avx512", cpu::missing_avx512}, order_avx512},
#endif
        {{"order", "ref", "order_ref", missing_nothing}, order_ref},
    };
    const auto list = [&all](const auto& table) {
        for (const auto& candidate : table) { all.rows.push_back(candidate.row); }
    };
    list(all.prune);
    list(all.pack);
    list(all.unpack);
    list(all.attend);
    list(all.merge);
    list(all.order);
    return all;
}

const Tables& tables() {
    static const Tables all = make_tables();
    return all;
}

std::size_t rank(std::string_view backend) {
    std::size_t at = 0;
    while (at < std::size(backend_order) && backend_order[at] != backend) { ++at; }
    return at;
}

std::string backend_list() {
    std::string names;
    for (const std::string_view backend : backend_order) {
        for (const KernelRow& row : tables().rows) {
            if (row.backend != backend) { continue; }
            names += (names.empty() ? "" : ", ") + std::string(backend);
            if (const char* missing = row.missing()) {
                names += " (not here: " + std::string(missing) + ")";
            }
            break;
        }
    }
    return names;
}

// A backend that was asked for must exist and run here.
void check_backend(const std::string& backend, const char* asked_by) {
    if (backend.empty()) { return; }
    for (const KernelRow& row : tables().rows) {
        if (row.backend != backend) { continue; }
        const char* missing = row.missing();
        if (missing == nullptr) { return; }
        throw Error(MUSTAFAR_UNSUPPORTED,
                    std::string(asked_by) + " = \"" + backend + "\" cannot run here: " + missing);
    }
    throw Error(MUSTAFAR_UNSUPPORTED,
                std::string(asked_by) + " = \"" + backend +
                    "\" is no backend of this library; there are: " + backend_list());
}

template <typename Function>
const Candidate<Function>& choose(const Table<Function>& table, const std::string& backend,
                                  bool refuse_ref) {
    const std::size_t best = backend.empty() ? 0 : rank(backend);
    for (const auto& candidate : table) {
        if (rank(candidate.row.backend) < best || candidate.row.missing() != nullptr) { continue; }
        // Ops that have no other row (merge, unpack) are never what makes a program slow.
        if (refuse_ref && table.size() > 1 && candidate.function == table.back().function) {
            throw Error(MUSTAFAR_UNSUPPORTED,
                        std::string("flags = REFUSE_REF, but op \"") + candidate.row.op +
                            "\" has only its reference row here; there are: " + backend_list());
        }
        return candidate;
    }
    return table.back(); // ref: runs anywhere
}

} // namespace

std::span<const KernelRow> kernel_rows() { return tables().rows; }

Kernels choose_kernels(const std::string& backend, const char* asked_by, bool refuse_ref) {
    check_backend(backend, asked_by);
    if (refuse_ref && backend == "ref") {
        throw Error(MUSTAFAR_UNSUPPORTED, std::string("flags = REFUSE_REF, but ") + asked_by +
                                              " = \"ref\"; there are: " + backend_list());
    }
    const auto& prune = choose(tables().prune, backend, refuse_ref);
    const auto& pack = choose(tables().pack, backend, refuse_ref);
    const auto& unpack = choose(tables().unpack, backend, refuse_ref);
    const auto& attend = choose(tables().attend, backend, refuse_ref);
    const auto& merge = choose(tables().merge, backend, refuse_ref);
    // Only rows of attend that have a row of order beside them ask for it.
    const auto& order = choose(tables().order, backend, false);
    Kernels chosen{prune.function,
                   pack.function,
                   unpack.function,
                   attend.function,
                   merge.function,
                   attend.function != attend_ref,
                   std::string_view(attend.row.backend) == "cuda",
                   false,
                   order.function,
                   {prune.row, pack.row, unpack.row, attend.row, merge.row, order.row}};
    const auto is_ref = [](const KernelRow& row) { return std::string_view(row.backend) == "ref"; };
    if (refuse_ref && std::all_of(std::begin(chosen.rows), std::end(chosen.rows), is_ref)) {
        throw Error(MUSTAFAR_UNSUPPORTED,
                    "flags = REFUSE_REF, but this build has nothing else; there are: " +
                        backend_list());
    }
    chosen.key_columns = std::string_view(attend.row.backend).starts_with("avx512");
    return chosen;
}

} // namespace mustafar

// SPDX-License-Identifier: Apache-2.0
// The only place that chooses. Best first; the first row that can, does.
#include "core/kernels.hpp"

#include <array>
#include <string>

#include "core/error.hpp"

namespace mustafar {
namespace {

template <typename Function>
struct Candidate {
    KernelRow row;
    Function function;
};

constexpr std::array<Candidate<PruneFn>, 1> prune_rows{{
    {{"prune", "ref", "prune_ref", nullptr}, prune_ref},
}};
constexpr std::array<Candidate<PackFn>, 1> pack_rows{{
    {{"pack", "ref", "pack_ref", nullptr}, pack_ref},
}};
constexpr std::array<Candidate<UnpackFn>, 1> unpack_rows{{
    {{"unpack", "ref", "unpack_ref", nullptr}, unpack_ref},
}};
constexpr std::array<Candidate<AttendFn>, 1> attend_rows{{
    {{"attend", "ref", "attend_ref", nullptr}, attend_ref},
}};
constexpr std::array<Candidate<MergeFn>, 1> merge_rows{{
    {{"merge", "ref", "merge_ref", nullptr}, merge_ref},
}};

constexpr auto all_rows = [] {
    std::array<KernelRow, prune_rows.size() + pack_rows.size() + unpack_rows.size() +
                              attend_rows.size() + merge_rows.size()>
        rows{};
    std::size_t at = 0;
    for (const auto& candidate : prune_rows) { rows[at++] = candidate.row; }
    for (const auto& candidate : pack_rows) { rows[at++] = candidate.row; }
    for (const auto& candidate : unpack_rows) { rows[at++] = candidate.row; }
    for (const auto& candidate : attend_rows) { rows[at++] = candidate.row; }
    for (const auto& candidate : merge_rows) { rows[at++] = candidate.row; }
    return rows;
}();

std::string backend_list() {
    std::string names;
    for (const KernelRow& row : all_rows) {
        const std::string name = row.backend;
        if (names.find(name) != std::string::npos) { continue; }
        names += (names.empty() ? "" : ", ") + name +
                 (row.missing != nullptr ? " (not here: " + std::string(row.missing) + ")" : "");
    }
    return names;
}

template <typename Table>
const auto& choose(const Table& table, const std::string& backend, const char* asked_by,
                   bool refuse_ref) {
    for (const auto& candidate : table) {
        const std::string name = candidate.row.backend;
        if (!backend.empty() && name != backend) { continue; }
        if (candidate.row.missing != nullptr) {
            if (backend.empty()) { continue; }
            throw Error(MUSTAFAR_UNSUPPORTED, std::string(asked_by) + " = \"" + backend +
                                                  "\" cannot run here: " + candidate.row.missing);
        }
        if (refuse_ref && name == "ref") {
            throw Error(MUSTAFAR_UNSUPPORTED,
                        std::string("flags = REFUSE_REF, but op \"") + candidate.row.op +
                            "\" has only its reference row here; there are: " + backend_list());
        }
        return candidate;
    }
    throw Error(MUSTAFAR_UNSUPPORTED,
                std::string(asked_by) + " = \"" + backend +
                    "\" is no backend of this library; there are: " + backend_list());
}

} // namespace

std::span<const KernelRow> kernel_rows() { return all_rows; }

Kernels choose_kernels(const std::string& backend, const char* asked_by, bool refuse_ref) {
    const auto& prune = choose(prune_rows, backend, asked_by, refuse_ref);
    const auto& pack = choose(pack_rows, backend, asked_by, refuse_ref);
    const auto& unpack = choose(unpack_rows, backend, asked_by, refuse_ref);
    const auto& attend = choose(attend_rows, backend, asked_by, refuse_ref);
    const auto& merge = choose(merge_rows, backend, asked_by, refuse_ref);
    return {prune.function,  pack.function,
            unpack.function, attend.function,
            merge.function,  {prune.row, pack.row, unpack.row, attend.row, merge.row}};
}

} // namespace mustafar

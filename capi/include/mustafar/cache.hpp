// SPDX-License-Identifier: Apache-2.0
//
// The second half of mustafar.hpp, which is the one to include: caches, snapshots, attention.
#ifndef MUSTAFAR_CACHE_HPP
#define MUSTAFAR_CACHE_HPP

#include "mustafar.hpp"

namespace mustafar {
inline namespace v0 {

struct Length {
    std::uint32_t committed, tentative;
};

struct Rows {
    std::uint32_t rows, body;
};

struct Exported {
    std::vector<float> values;         // [end - begin, head_dim]
    std::vector<std::uint8_t> bitmaps; // [end - begin, head_dim / 8]
};

struct Description {
    mustafar_geometry geometry;
    mustafar_cache_options options;
    std::string recipe; // canonical JSON
};

// What a snapshot must match; what is absent is taken from it.
struct LoadOptions {
    std::optional<Geometry> geometry = {};
    const Recipe* recipe = nullptr;
    std::optional<std::string> model_id = {};
    std::optional<CacheOptions> options = {}; // max_tokens 0 = as saved
};

struct PruneOptions {
    std::uint32_t method = MUSTAFAR_PRUNE_RECIPE, keep = 0, of = 0;
    float threshold = 0.0F;
    Input channel_weights = {}, token_weights = {}, mask = {};
};

class Cache {
  public:
    Cache(const Context& context, const Geometry& geometry, const Recipe& recipe,
          const CacheOptions& options) {
        const auto shape = geometry.raw();
        const auto limits = options.raw();
        adopt([&](auto** out, auto* error) {
            return mustafar_cache_create(context.get(), &shape, recipe.get(), &limits, out, error);
        });
    }

    // `read(std::span<std::byte>)` returns how many bytes it gave, 0 at the end.
    template <class Read>
    requires std::is_invocable_r_v<std::size_t, Read&, std::span<std::byte>>
    Cache(const Context& context, Read&& read, const LoadOptions& options = {}) {
        Stream<std::remove_reference_t<Read>> stream{&read, nullptr};
        const mustafar_read_fn some = [](void* user, void* data, std::size_t bytes,
                                         std::size_t* got) {
            return static_cast<decltype(stream)*>(user)->serve([&](auto& function) {
                *got = function(std::span(static_cast<std::byte*>(data), bytes));
            });
        };
        load(options, [&](auto* shape, auto* model, auto* limits, auto** out, auto* error) {
            const auto status = mustafar_cache_load(context.get(), shape, recipe_of(options), model,
                                                    limits, some, &stream, out, error);
            stream.rethrow();
            return status;
        });
    }

    static Cache load_file(const Context& context, const std::string& path,
                           const LoadOptions& options = {}) {
        Cache made;
        made.load(options, [&](auto* shape, auto* model, auto* limits, auto** out, auto* error) {
            return mustafar_cache_load_file(context.get(), shape, recipe_of(options), model, limits,
                                            path.c_str(), out, error);
        });
        return made;
    }

    mustafar_cache* get() noexcept { return handle_.get(); }
    const mustafar_cache* get() const noexcept { return handle_.get(); }

    Cache fork() const {
        Cache made;
        made.adopt([&](auto** out, auto* error) { return mustafar_cache_fork(get(), out, error); });
        return made;
    }

    // ---- change

    void append(std::uint32_t layer, const Input& k, const Input& v, std::uint32_t flags = 0) {
        detail::check([&](auto* error) {
            return mustafar_cache_append(get(), layer, k.get(), v.get(), flags, error);
        });
    }
    void commit(std::uint32_t layer = MUSTAFAR_ALL) {
        detail::check([&](auto* error) { return mustafar_cache_commit(get(), layer, error); });
    }
    void prune(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t side, std::uint32_t begin,
               std::uint32_t end, const PruneOptions& options = {}) {
        const mustafar_prune_options raw = {sizeof(raw), options.method,    options.keep,
                                            options.of,  options.threshold, 0};
        detail::check([&](auto* error) {
            return mustafar_cache_prune(get(), layer, kv_head, side, begin, end, &raw,
                                        options.channel_weights.get(), options.token_weights.get(),
                                        options.mask.get(), error);
        });
    }
    void compress(std::uint32_t layer = MUSTAFAR_ALL) {
        detail::check([&](auto* error) { return mustafar_cache_compress(get(), layer, error); });
    }
    void evict(std::uint32_t layer, std::uint32_t kv_head, std::span<const std::int32_t> positions,
               std::uint32_t flags = 0) {
        detail::check([&](auto* error) {
            return mustafar_cache_evict(get(), layer, kv_head, positions.data(), positions.size(),
                                        flags, error);
        });
    }
    void evict_scores(std::uint32_t layer, std::uint32_t kv_head, std::span<const float> scores,
                      std::uint32_t budget = 0) {
        detail::check([&](auto* error) {
            return mustafar_cache_evict_scores(get(), layer, kv_head, scores.data(), scores.size(),
                                               budget, error);
        });
    }
    void truncate(std::uint32_t length, std::uint32_t flags = 0) {
        detail::check(
            [&](auto* error) { return mustafar_cache_truncate(get(), length, flags, error); });
    }
    void reset() {
        detail::check([&](auto* error) { return mustafar_cache_reset(get(), error); });
    }

    // ---- ask

    Length length(std::uint32_t layer = 0) const {
        Length out{};
        detail::check([&](auto* error) {
            return mustafar_cache_length(get(), layer, &out.committed, &out.tentative, error);
        });
        return out;
    }
    Rows rows(std::uint32_t layer, std::uint32_t kv_head) const {
        Rows out{};
        detail::check([&](auto* error) {
            return mustafar_cache_rows(get(), layer, kv_head, &out.rows, &out.body, error);
        });
        return out;
    }
    std::vector<std::int32_t> positions(std::uint32_t layer, std::uint32_t kv_head) const {
        std::vector<std::int32_t> out(rows(layer, kv_head).rows);
        detail::check([&](auto* error) {
            return mustafar_cache_positions(get(), layer, kv_head, out.data(), out.size(), error);
        });
        return out;
    }
    Exported export_rows(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t side,
                         std::uint32_t begin, std::uint32_t end) const {
        if (begin > end || end > rows(layer, kv_head).rows) { // before memory of that size is taken
            detail::refuse("mustafar_cache_export: begin, end leave the rows of the head");
        }
        const auto geometry = describe().geometry;
        const std::int64_t d = side == MUSTAFAR_SIDE_K ? geometry.head_dim_k : geometry.head_dim_v;
        const std::int64_t count = end - begin;
        Exported out{std::vector<float>(static_cast<std::size_t>(count * d)),
                     std::vector<std::uint8_t>(static_cast<std::size_t>(count * d / 8))};
        const Output values = f32(out.values, {count, d});
        detail::check([&](auto* error) {
            return mustafar_cache_export(get(), layer, kv_head, side, begin, end, values.get(),
                                         out.bitmaps.data(), error);
        });
        return out;
    }
    Description describe() const {
        auto geometry = detail::sized<mustafar_geometry>();
        auto options = detail::sized<mustafar_cache_options>();
        const char* recipe = "";
        detail::check([&](auto* error) {
            return mustafar_cache_describe(get(), &geometry, &options, &recipe, error);
        });
        return {geometry, options, recipe};
    }
    mustafar_bytes bytes(std::uint32_t layer = MUSTAFAR_ALL,
                         std::uint32_t kv_head = MUSTAFAR_ALL) const {
        auto out = detail::sized<mustafar_bytes>();
        detail::check(
            [&](auto* error) { return mustafar_cache_bytes(get(), layer, kv_head, &out, error); });
        return out;
    }
    mustafar_cache_stats stats() const {
        auto out = detail::sized<mustafar_cache_stats>();
        detail::check([&](auto* error) { return mustafar_cache_get_stats(get(), &out, error); });
        return out;
    }

    // ---- save: `write(std::span<const std::byte>)` takes all it is given, or throws

    template <class Write>
    requires std::is_invocable_v<Write&, std::span<const std::byte>>
    void save(const std::string& model_id, Write&& write) const {
        Stream<std::remove_reference_t<Write>> stream{&write, nullptr};
        const mustafar_write_fn all = [](void* user, const void* data, std::size_t bytes) {
            return static_cast<decltype(stream)*>(user)->serve([&](auto& function) {
                function(std::span(static_cast<const std::byte*>(data), bytes));
            });
        };
        detail::check([&](auto* error) {
            const auto status = mustafar_cache_save(get(), model_id.c_str(), all, &stream, error);
            stream.rethrow();
            return status;
        });
    }
    void save_file(const std::string& model_id, const std::string& path) const {
        detail::check([&](auto* error) {
            return mustafar_cache_save_file(get(), model_id.c_str(), path.c_str(), error);
        });
    }

  private:
    // A function of the caller's behind a C callback: what it throws waits until C has returned.
    template <class Function>
    struct Stream {
        Function* function;
        std::exception_ptr thrown;
        template <class Use>
        std::int32_t serve(Use&& use) noexcept {
            try {
                use(*function);
                return 0;
            } catch (...) {
                thrown = std::current_exception();
                return -1;
            }
        }
        void rethrow() {
            if (thrown) { std::rethrow_exception(thrown); }
        }
    };

    Cache() = default;

    template <class Make>
    void adopt(Make&& make) {
        mustafar_cache* made = nullptr;
        detail::check([&](auto* error) { return make(&made, error); });
        handle_.reset(made);
    }

    static const mustafar_recipe* recipe_of(const LoadOptions& options) {
        return options.recipe != nullptr ? options.recipe->get() : nullptr;
    }

    template <class Call>
    void load(const LoadOptions& options, Call&& call) {
        const auto shape = options.geometry.value_or(Geometry{}).raw();
        const auto limits = options.options.value_or(CacheOptions{}).raw();
        adopt([&](auto** out, auto* error) {
            return call(options.geometry ? &shape : nullptr,
                        options.model_id ? options.model_id->c_str() : nullptr,
                        options.options ? &limits : nullptr, out, error);
        });
    }

    std::unique_ptr<mustafar_cache, detail::Destroy<mustafar_cache_destroy>> handle_;
};

// ---- attention ---------------------------------------------------------------------------------

struct AttendOptions {
    Input sinks = {};                            // f32 [q_heads]
    std::optional<std::int64_t> q_position = {}; // MUSTAFAR_ATTEND_AT
    float scale = 0.0F, softcap = 0.0F;
    std::uint32_t sliding_window = 0;
    float drop_mass = 0.0F;
    Output lse = {}, weights = {}, dropped = {}; // further results
};

inline void attend(std::span<const Cache* const> caches, std::uint32_t layer, const Input& q,
                   const Output& out, const AttendOptions& options = {}) {
    auto raw = detail::sized<mustafar_attend_options>();
    raw.flags = options.q_position ? MUSTAFAR_ATTEND_AT : 0U;
    raw.q_position = options.q_position.value_or(0);
    raw.scale = options.scale;
    raw.softcap = options.softcap;
    raw.sliding_window = options.sliding_window;
    raw.drop_mass = options.drop_mass;
    const auto call = [&](const mustafar_cache* const* handles) {
        detail::check([&](auto* error) {
            return mustafar_attend(handles, caches.size(), layer, q.get(), options.sinks.get(),
                                   &raw, out.get(), options.lse.get(), options.weights.get(),
                                   options.dropped.get(), error);
        });
    };
    if (caches.size() == 1 && caches[0] != nullptr) { // no allocation for one
        const mustafar_cache* one = caches[0]->get();
        return call(&one);
    }
    std::vector<const mustafar_cache*> handles;
    for (const Cache* cache : caches) {
        handles.push_back(cache != nullptr ? cache->get() : nullptr);
    }
    call(handles.data());
}

inline void attend(std::initializer_list<const Cache*> caches, std::uint32_t layer, const Input& q,
                   const Output& out, const AttendOptions& options = {}) {
    attend(std::span<const Cache* const>(caches.begin(), caches.size()), layer, q, out, options);
}

inline void merge(const Context& context, const Input& out_a, const Input& lse_a,
                  const Input& out_b, const Input& lse_b, const Output& out, const Output& lse) {
    detail::check([&](auto* error) {
        return mustafar_merge(context.get(), out_a.get(), lse_a.get(), out_b.get(), lse_b.get(),
                              out.get(), lse.get(), error);
    });
}

} // namespace v0
} // namespace mustafar

#endif // MUSTAFAR_CACHE_HPP

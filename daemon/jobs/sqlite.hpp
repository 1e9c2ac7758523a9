// SPDX-License-Identifier: Apache-2.0
// SQLite: a connection, and a statement that lives as long as its rows are read. Nothing else of the daemon names it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace mustafar::daemon {

// The file is no database, or a damaged one.
class DamagedDatabase : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Threads: one at a time.
class Database {
  public:
    // ":memory:" or a path; the file is created where there is none. Throws DamagedDatabase, Problem storage.
    explicit Database(const std::string& path);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    void run(const char* statements); // without parameters or results
    std::uint64_t last_row() const;
    std::uint64_t changes() const; // rows that the last statement changed
    // Throws by what SQLite says: DamagedDatabase, or Problem storage.
    [[noreturn]] void fail(int status) const;
    sqlite3* handle() const { return handle_; }

  private:
    sqlite3* handle_ = nullptr;
};

// All or nothing: undone unless committed.
class Transaction {
  public:
    explicit Transaction(Database& database) : database_(database) {
        database.run("BEGIN IMMEDIATE");
    }
    ~Transaction();
    void commit();

  private:
    Database& database_;
    bool open_ = true;
};

// One statement with its parameters, in order: text, integers, doubles, nullptr.
class Query {
  public:
    template <class... Values>
    Query(Database& database, const char* sql, const Values&... values) : database_(database) {
        prepare(sql);
        [[maybe_unused]] int place = 0;
        (bind(++place, values), ...);
    }
    ~Query();
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    bool step(); // true: a row is there
    void run() { step(); }
    std::string text(int column) const;
    std::uint64_t integer(int column) const;
    double number(int column) const;
    bool is_null(int column) const;

  private:
    void prepare(const char* sql);
    void bind(int place, std::string_view text);
    void bind(int place, const std::string& text) { bind(place, std::string_view(text)); }
    void bind(int place, const char* text) { bind(place, std::string_view(text)); }
    void bind(int place, std::uint64_t number);
    void bind(int place, std::uint32_t number) { bind(place, std::uint64_t{number}); }
    void bind(int place, bool value) { bind(place, std::uint64_t{value}); }
    void bind(int place, double number);
    void bind(int place, std::nullptr_t);
    void check(int status) const;

    Database& database_;
    sqlite3_stmt* statement_ = nullptr;
};

} // namespace mustafar::daemon

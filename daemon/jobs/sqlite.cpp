// SPDX-License-Identifier: Apache-2.0
#include "jobs/sqlite.hpp"

#include <sqlite3.h>

#include "problem.hpp"

namespace mustafar::daemon {

Database::Database(const std::string& path) {
    const int status =
        sqlite3_open_v2(path.c_str(), &handle_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (status != SQLITE_OK) {
        const Problem problem(ProblemType::storage,
                              path + ": " +
                                  (handle_ == nullptr ? "no memory" : sqlite3_errmsg(handle_)));
        sqlite3_close(handle_);
        throw problem;
    }
    sqlite3_extended_result_codes(handle_, 1);
    sqlite3_busy_timeout(handle_, 5000); // somebody looks at the file with another program
}

Database::~Database() { sqlite3_close(handle_); }

void Database::fail(int status) const {
    const int primary = status & 0xff;
    const std::string text = sqlite3_errmsg(handle_);
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) { throw DamagedDatabase(text); }
    throw Problem(ProblemType::storage, "the history cannot be used: " + text,
                  {{"sqlite", status}});
}

void Database::run(const char* statements) {
    const int status = sqlite3_exec(handle_, statements, nullptr, nullptr, nullptr);
    if (status != SQLITE_OK) { fail(status); }
}

std::uint64_t Database::last_row() const {
    return static_cast<std::uint64_t>(sqlite3_last_insert_rowid(handle_));
}

std::uint64_t Database::changes() const {
    return static_cast<std::uint64_t>(sqlite3_changes64(handle_));
}

Transaction::~Transaction() {
    // What cannot be undone now is undone when the file is opened next.
    if (open_) { sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr); }
}

void Transaction::commit() {
    database_.run("COMMIT");
    open_ = false;
}

void Query::prepare(const char* sql) {
    check(sqlite3_prepare_v2(database_.handle(), sql, -1, &statement_, nullptr));
}

Query::~Query() { sqlite3_finalize(statement_); }

void Query::check(int status) const {
    if (status != SQLITE_OK) { database_.fail(status); }
}

bool Query::step() {
    const int status = sqlite3_step(statement_);
    if (status != SQLITE_ROW && status != SQLITE_DONE) { database_.fail(status); }
    return status == SQLITE_ROW;
}

std::string Query::text(int column) const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    if (text == nullptr) { return {}; }
    return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::uint64_t Query::integer(int column) const {
    return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
}

double Query::number(int column) const { return sqlite3_column_double(statement_, column); }

bool Query::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

void Query::bind(int place, std::string_view text) {
    // Copied: the statement may outlive what it was made of.
    check(sqlite3_bind_text64(statement_, place, text.data(), text.size(), SQLITE_TRANSIENT,
                              SQLITE_UTF8));
}

void Query::bind(int place, std::uint64_t number) {
    check(sqlite3_bind_int64(statement_, place, static_cast<sqlite3_int64>(number)));
}

void Query::bind(int place, double number) {
    check(sqlite3_bind_double(statement_, place, number));
}

void Query::bind(int place, std::nullptr_t) { check(sqlite3_bind_null(statement_, place)); }

} // namespace mustafar::daemon

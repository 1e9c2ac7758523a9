# SPDX-License-Identifier: Apache-2.0
"""Types, problem types and plain JSON operations of the clients, written from daemon/openapi.json."""

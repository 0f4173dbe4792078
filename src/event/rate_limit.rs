//! Rate-limit state from response headers, whatever the dialect.

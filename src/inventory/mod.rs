//! Inventories and host patterns.

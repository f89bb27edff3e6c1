//! A rolling update: two proxies side by side on one node.

//! dcos-play

//! The controller is one file that people copy around.

#![cfg(not(feature = "aws"))]

#[test]
fn the_controller_stays_below_twenty_five_megabytes() {
    if option_env!("CARGO_INCREMENTAL") == Some("1") {
        println!("skipped: an incremental build is larger than what people get");
        return;
    }
    let size = fs_err::metadata(env!("CARGO_BIN_EXE_dcos-play")).expect("cargo built it").len();
    assert!(size < 25_000_000, "the controller has {size} bytes");
}

//! Compiles the .proto files. protox is written in Rust, so a build needs no
//! `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["router.proto", "bus.proto", "event.proto", "client.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").codec_path("crate::codec::Codec").compile_fds(files)?;
    Ok(())
}

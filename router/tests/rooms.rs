//! The router's modules import each other in one direction only.

use std::path::Path;

use testbed::Imports;

#[test]
fn no_module_of_the_router_is_in_a_cycle() {
    let imports = Imports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    println!("{imports}");
    assert!(imports.edges().len() > 20, "the sources were read");
    assert!(imports.cycles().is_empty(), "modules of the router import each other:\n{imports}");
}

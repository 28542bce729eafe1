//! Writes the checked-in compact form of PVE's API schema: `pve_schema <api-schema.json> <out.json>`.

use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pve_schema <api-schema.json> <out.json>".into());
    };
    let full: serde_json::Value = serde_json::from_str(&fs::read_to_string(input)?)?;
    let compact = sim_pve::schema::compact(&full);
    fs::write(output, format!("{}\n", serde_json::to_string(&compact)?))?;
    Ok(())
}

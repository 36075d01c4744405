//! Prices on the command line.

use crate::projection::Prices;

/// What the user pays.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(super) struct PriceArgs {
    /// Price of a chip with its share of the system for an hour, in any currency: adds the cost of a million tokens
    #[arg(long, value_name = "PRICE", value_parser = parse_price, allow_negative_numbers = true)]
    price_per_chip_hour: Option<f64>,
    /// Price of a kilowatt-hour in the same currency, counted on top of the chip's; cooling of the building is not counted
    #[arg(long, value_name = "PRICE", value_parser = parse_price, allow_negative_numbers = true)]
    price_per_kwh: Option<f64>,
}

impl PriceArgs {
    /// The prices that are given.
    pub(super) const fn prices(&self) -> Prices {
        Prices { chip_hour: self.price_per_chip_hour, kwh: self.price_per_kwh }
    }
}

/// A price: the flag names its unit, and the currency is the user's.
fn parse_price(text: &str) -> Result<f64, String> {
    let price: Result<f64, _> = text.parse();
    match price {
        Ok(price) if price > 0.0 && price <= 1e12 => Ok(price),
        _ => Err("give a plain number above 0, without its currency".to_owned()),
    }
}

//! The keys of expanded latent attention, joined from the part of each head and the rotary part that all heads share.

use std::collections::BTreeMap;

use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal};
use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::Verification;
use crate::units::{Bytes, Flop};

/// Joins the two parts of the keys of `tokens` tokens.
#[derive(Debug, Clone)]
pub struct JoinKeys {
    /// Tokens.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head's own part, a multiple of 4.
    pub own: usize,
    /// Width of the rotary part, a multiple of 4.
    pub rotary: usize,
}

/// Invocations per workgroup.
const WORKGROUP: usize = 64;
/// Bytes that an invocation copies.
const UNIT: usize = 8;

impl JoinKeys {
    fn out_dims(&self) -> [usize; 3] {
        [self.tokens, self.heads, self.own + self.rotary]
    }
}

impl Kernel for JoinKeys {
    fn name(&self) -> &'static str {
        "join_keys"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let Self { tokens, heads, own, rotary } = *self;
        named(&[("tokens", tokens), ("heads", heads), ("own", own), ("rotary", rotary)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["copy"]
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let Self { tokens, heads, own, rotary } = *self;
        let own_bytes = bytes_of(&[tokens, heads, own], element);
        let rotary_bytes = bytes_of(&[tokens, rotary], element);
        let out_bytes = bytes_of(&self.out_dims(), element);
        // It only copies.
        let mut plan = Plan::new(Work {
            flop: Flop::ZERO,
            bytes_read: Bytes::new((own_bytes + rotary_bytes) as f64),
            bytes_written: Bytes::new(out_bytes as f64),
        });
        let bindings = [
            plan.buffer("own", Role::Input, own_bytes),
            plan.buffer("rotary", Role::Input, rotary_bytes),
            plan.buffer("out", Role::Output, out_bytes),
        ];
        let units = |width: usize| bytes_of(&[width], element) / UNIT;
        let copies = heads * units(own + rotary);
        plan.launch(
            // The shader is the same for all types.
            Launch::of("attention_join_keys", StorageType::F32)
                .overrides([("WORKGROUP", WORKGROUP as f64)])
                .params([
                    ("tokens", word(tokens)),
                    ("heads", word(heads)),
                    ("own_width", word(units(own))),
                    ("rotary_width", word(units(rotary))),
                ])
                .bindings(bindings)
                .grid([word(copies.div_ceil(WORKGROUP)), word(tokens), 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        Tensors::from([
            ("own", normal(&[self.tokens, self.heads, self.own], element, seed ^ 0xA)),
            ("rotary", normal(&[self.tokens, self.rotary], element, seed ^ 0xB)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let budget = TwinBudget { cost: self.own + self.rotary, effort };
        compare_rows(outputs, self.out_dims(), element, budget, |token, head| {
            twin::attention::join_keys(&inputs["own"], &inputs["rotary"], token, head)
        })
    }
}

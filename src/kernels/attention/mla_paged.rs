//! Latent decode over a cache in blocks, found through a block table, as in FlashMLA, vLLM and SGLang. The shaders are those
//! of the contiguous cache.

use std::collections::BTreeMap;

use crate::kernels::attention::mla::{Blocks, MlaDecode};
use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal};
use crate::kernels::attention::pool::BlockPool;
use crate::kernels::attention::seen::sink_logits;
use crate::kernels::attention::variant::{MLA_NAMES, MlaVariant};
use crate::kernels::kernel::{Kernel, if_smaller};
use crate::kernels::plan::{Output, Plan};
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, named};
use crate::kernels::verification::Verification;

/// Latent attention of one query per sequence over its blocks, which are scattered over the pool.
#[derive(Debug, Clone)]
pub struct PagedMlaDecode {
    /// The sizes.
    pub decode: MlaDecode,
    /// Cached tokens per block.
    pub block: usize,
}

impl PagedMlaDecode {
    fn pool(&self) -> BlockPool {
        BlockPool { sequences: self.decode.sequences, kv_len: self.decode.kv_len, block: self.block }
    }

    fn pool_dims(&self) -> [usize; 2] {
        [self.pool().tokens(), self.decode.entry()]
    }

    fn with(&self, decode: Option<MlaDecode>) -> Option<Box<dyn Kernel>> {
        decode.map(|decode| Box::new(Self { decode, ..self.clone() }) as Box<dyn Kernel>)
    }
}

impl Kernel for PagedMlaDecode {
    fn name(&self) -> &'static str {
        "mla_decode_paged"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.decode.sizes());
        shape.extend(named(&[("block", self.block)]));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &MLA_NAMES
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        MlaVariant::of(variant).elements()
    }

    fn suits(&self, variant: &str) -> bool {
        self.decode.fits(variant)
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        if_smaller(Self { decode: self.decode.shrunk(most), ..self.clone() }, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        self.with(self.decode.with_fewer_sequences())
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.with(self.decode.with_fewer_heads())
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let cache_bytes = bytes_of(&self.pool_dims(), element);
        let blocks = Blocks { cache_bytes, block: self.block, table_width: self.pool().table_width() };
        self.decode.plan_over(&blocks, variant, element)
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        Tensors::from([
            ("q", self.decode.queries(element, seed)),
            ("cache", normal(&self.pool_dims(), element, seed ^ 0xB)),
            ("block_table", self.pool().table(seed ^ 0xD)),
            ("sinks", sink_logits(self.decode.heads, false, seed)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.decode.out_dims(), &self.decode.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let MlaDecode { latent_dim, key_dim, kv_len, .. } = self.decode;
        let pages = twin::attention::LatentPages {
            latent: twin::attention::LatentCache { entries: &inputs["cache"], latent_dim, key_dim },
            block_table: &inputs["block_table"],
            block: self.block,
        };
        let budget = TwinBudget { cost: self.decode.twin_cost(), effort };
        compare_rows(outputs, self.decode.out_dims(), element, budget, |sequence, head| {
            twin::attention::mla_decode_paged(&inputs["q"], &pages, kv_len, sequence, head)
        })
    }
}

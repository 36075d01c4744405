//! What the weights of a published checkpoint are stored as.

/// The storage type of a published checkpoint's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckpointType {
    /// Not quantised: bfloat16.
    #[default]
    Bf16,
    /// e4m3 with one scale per block of 128 x 128, channel or tensor.
    Fp8,
    /// e4m3 with one e8m0 scale per 32 numbers.
    Mxfp8,
    /// e2m1 with one e8m0 scale per 32 numbers.
    Mxfp4,
    /// e2m1 with one e4m3 scale per 16 numbers.
    Nvfp4,
    /// Eight bits with a scale per channel.
    Int8,
    /// Four bits with one 16-bit scale per so many numbers.
    Int4 {
        /// Numbers that share a scale.
        group: u64,
    },
}

impl CheckpointType {
    /// Bits of a number, without its share of a scale.
    pub const fn bits(self) -> u64 {
        match self {
            Self::Bf16 => 16,
            Self::Fp8 | Self::Mxfp8 | Self::Int8 => 8,
            Self::Mxfp4 | Self::Nvfp4 | Self::Int4 { .. } => 4,
        }
    }

    /// Bytes of a weight with its share of a scale. Scales of blocks of 128 x 128 and of channels count as nothing.
    pub fn bytes(self) -> f64 {
        let scale = match self {
            Self::Bf16 | Self::Fp8 | Self::Int8 => 0.0,
            Self::Mxfp8 | Self::Mxfp4 => 1.0 / 32.0,
            Self::Nvfp4 => 1.0 / 16.0,
            Self::Int4 { group } => 2.0 / group as f64,
        };
        self.bits() as f64 / 8.0 + scale
    }
}

/// The storage types of a published checkpoint by part of the model. Norms, routers and the embedding have 16 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Projections around attention or a recurrence.
    pub mixer: CheckpointType,
    /// Dense feed-forward networks.
    pub dense: CheckpointType,
    /// Shared experts.
    pub shared: CheckpointType,
    /// Routed experts.
    pub experts: CheckpointType,
    /// LM head.
    pub head: CheckpointType,
    /// The KV cache that it was made for.
    pub cache: CheckpointType,
}

impl Checkpoint {
    /// Whether no part is quantised.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether weights of a layer have four bits.
    pub fn has_four_bits(&self) -> bool {
        self.least_bits() == 4
    }

    /// Bits of the narrowest weights of a layer.
    pub fn least_bits(&self) -> u64 {
        let other = self.dense.bits().min(self.shared.bits()).min(self.experts.bits());
        self.mixer.bits().min(other)
    }
}

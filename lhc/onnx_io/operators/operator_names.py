"""Names of operators: which ones multiply nothing by stored weights, and which ones hide what they do.

Made by going through every schema of onnx 1.23 and onnxruntime 1.32, contrib operators included; a test goes through
them again and names those that are in no table. An operator *multiplies by weights* if it sums products with a stored
tensor, as a matrix does. These do not: scaling element by element (Mul, BatchNormalization), looking up (Gather and
GatherBlockQuantized, also of a table that a product reads too), interpolation, transforms without stored numbers
(DFT), comparisons (trees). Those that hold graphs (If, Loop, BeamSearch) multiply nothing themselves: what lies in
their bodies is looked at by itself.
"""

import onnx

# fmt: off
_NAMES = {
    "": """
        Abs Acos Acosh Add Affine AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool
        BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow
        Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant
        ConstantOfShape Cos Cosh Crop CumProd CumSum DFT DepthToSpace DequantizeLinear Det
        DisentangledAttention_TRT Div Dropout DynamicQuantizeLinear DynamicSlice EfficientNMS_TRT Elu Equal Erf
        Exp Expand EyeLike Flatten Floor GRUUnit Gather GatherElements GatherND Gelu GivenTensorFill
        GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization
        HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If ImageDecoder ImageScaler
        InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop
        LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix
        MemcpyFromHost MemcpyToHost Min Mish Mod Mul MultilevelCropAndResize_TRT Multinomial Neg
        NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement
        OptionalHasElement Or PRelu Pad ParametricSoftplus Pow PyramidROIAlign_TRT QuantizeLinear
        RMSNormalization RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
        ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT
        Scale ScaledTanh Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
        SequenceErase SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign
        SimplifiedLayerNormalization Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign
        SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum SwiGLU
        Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze
        Upsample Where Xor
    """,
    "ai.onnx.ml": """
        ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer
        LabelEncoder Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
        ZipMap
    """,
    "ai.onnx.preview.training": """
        Adagrad Adam Momentum
    """,
    "com.microsoft": """
        BeamSearch BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskBiasDropout
        BitmaskDropout BranchwiseRMSNorm ComplexMul ComplexMulConj ConvStateReplay CropAndResize DequantizeBFP
        DequantizeLinear DequantizeWithOrder DynamicTimeWarping EmbedLayerNormalization ExpandDims FastGelu
        GatedRMSNorm GatherBlockQuantized GatherND GatherPacked Gelu GemmaRotaryEmbedding GreedySearch
        GridSample GroupNorm HyperConnectionPreMix Inverse Irfft IsAllFinite LinearAttentionGate
        MRotaryEmbedding MaxpoolWithMask MulInteger MurmurHash3 NGramHashMapping NGramRepeatBlock NhwcMaxPool
        PackedSparseAttentionIndexerMerge Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool
        QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
        QLinearSoftmax QLinearWhere QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear
        QuantizeWithOrder QuickGelu RMSNormRotary Range ReduceSumInteger RelativePositionBias RemovePadding
        RestorePadding Rfft RotaryEmbedding SampleOp Sampling ScaledSiLU SkipGroupNorm SkipLayerNormalization
        SkipSimplifiedLayerNormalization SpeculativePrefixCommit SwiGLU Tokenizer TorchEmbedding Trilu
        UnfoldTensor Unique VarlenNGramHashMapping WhisperBeamSearch
    """,
    "com.microsoft.nchwc": """
        AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample
    """,
    "com.ms.internal.nhwc": """
        AveragePool BatchNormalization DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample
        InstanceNormalization LRN LpPool MaxPool MaxUnpool QLinearAveragePool Resize SpaceToDepth
    """,
}
# fmt: on
WEIGHTLESS = frozenset((domain, name) for domain, names in _NAMES.items() for name in names.split())
"""Domain and name of every operator without products by stored weights."""

OPAQUE = frozenset(
    {("com.microsoft", "EPContext"), ("com.microsoft", "Snpe"), ("ai.onnx.preview.training", "Gradient")}
)
"""Operators that hold a compiled network, or stand for the products of others."""


def identity(node: onnx.NodeProto) -> tuple[str, str]:
    """Domain, empty for ONNX's own, and operator."""
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


def kind_of(node: onnx.NodeProto) -> str:
    """The operator as people read it, with its domain unless it is ONNX's own."""
    domain, name = identity(node)
    return f"{domain}::{name}" if domain else name

// RUN: miura-opt %s -split-input-file --miura-raise -verify-diagnostics

func.func @bits(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x12xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'bits' (MatMulNBits) has codes of 3 bits; only those of 2, 4 and 8 have a known layout}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 3 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("bits")
    : (tensor<5x32xf32>, tensor<2x1x12xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @block(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x2x12xui8>
  %s = arith.constant dense<0.5> : tensor<4xf32>
  // expected-error @below {{node 'block' (MatMulNBits) expects a block_size that is a power of 2 of at least 16, but got 24}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 24 : si64} domain("com.microsoft") version(1) name("block")
    : (tensor<5x32xf32>, tensor<2x2x12xui8>, tensor<4xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @packed(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x2x16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'packed' (MatMulNBits) expects uint8 weights of 2 x 1 x 16 for K = 32, N = 2, bits = 4 and block_size = 32, but got 'tensor<2x2x16xui8>'}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("packed")
    : (tensor<5x32xf32>, tensor<2x2x16xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @scales(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<3xf32>
  // expected-error @below {{node 'scales' (MatMulNBits) expects scales of 2 x 1, but got 'tensor<3xf32>'}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("scales")
    : (tensor<5x32xf32>, tensor<2x1x16xui8>, tensor<3xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @zeros(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %z = arith.constant dense<8> : tensor<2x2xui8>
  // expected-error @below {{node 'zeros' (MatMulNBits) expects zero points of 2 x 1, but got 'tensor<2x2xui8>'}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %z) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("zeros")
    : (tensor<5x32xf32>, tensor<2x1x16xui8>, tensor<2xf32>, tensor<2x2xui8>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @columns(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'columns' (MatMulNBits) expects an input of 16 columns (K), but got 32}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 16 : si64, N = 2 : si64, bits = 4 : si64, block_size = 16 : si64} domain("com.microsoft") version(1) name("columns")
    : (tensor<5x32xf32>, tensor<2x1x8xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @no_size(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'no_size' (MatMulNBits) expects K and N above 0, but got 0 and 2}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {N = 2 : si64, bits = 4 : si64, block_size = 16 : si64} domain("com.microsoft") version(1) name("no_size")
    : (tensor<5x32xf32>, tensor<2x1x8xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @prepacked(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'prepacked' (MatMulNBits) has weights in the order of one GPU kernel (weight_prepacked = 1); export the model without packing them}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 32 : si64, weight_prepacked = 1 : si64} domain("com.microsoft") version(1) name("prepacked")
    : (tensor<5x32xf32>, tensor<2x1x16xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @bnb_kind(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<32xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'bnb_kind' (MatMulBnb4) expects K and N above 0, a block_size that is a power of 2 of at least 16, a quant_type of 0 (FP4) or 1 (NF4) and a transposed weight, but got K = 32, N = 2, block_size = 32, quant_type = 2, transB = 1}}
  %y = miura.onnx_node "MatMulBnb4"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, block_size = 32 : si64, quant_type = 2 : si64} domain("com.microsoft") version(1) name("bnb_kind")
    : (tensor<5x32xf32>, tensor<32xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @bnb_bytes(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<31xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  // expected-error @below {{node 'bnb_bytes' (MatMulBnb4) expects 32 bytes of weights and 2 scales for K = 32, N = 2 and block_size = 32, but got 'tensor<31xui8>' and 'tensor<2xf32>'}}
  %y = miura.onnx_node "MatMulBnb4"(%x, %w, %s) {K = 32 : si64, N = 2 : si64, block_size = 32 : si64, quant_type = 1 : si64} domain("com.microsoft") version(1) name("bnb_bytes")
    : (tensor<5x32xf32>, tensor<31xui8>, tensor<2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @group_index(%x: tensor<5x32xf32>) -> tensor<5x2xf32> {
  %w = arith.constant dense<7> : tensor<2x1x16xui8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %g = arith.constant dense<1> : tensor<32xi32>
  %none = miura.absent
  // expected-error @below {{node 'act_order' (MatMulNBits) has a group index (g_idx) in another order than that of columns, or beside zero points}}
  %y = miura.onnx_node "MatMulNBits"(%x, %w, %s, %none, %g) {K = 32 : si64, N = 2 : si64, bits = 4 : si64, block_size = 32 : si64} domain("com.microsoft") version(1) name("act_order")
    : (tensor<5x32xf32>, tensor<2x1x16xui8>, tensor<2xf32>, !miura.absent, tensor<32xi32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// -----

func.func @gather(%i: tensor<5xi64>) -> tensor<5x32xf32> {
  %w = arith.constant dense<7> : tensor<4x16xui8>
  %s = arith.constant dense<0.5> : tensor<4x2xf32>
  // expected-error @below {{node 'gather' (GatherBlockQuantized) expects scales of 4 x 1 for 32 columns and block_size = 32, but got 'tensor<4x2xf32>'}}
  %y = miura.onnx_node "GatherBlockQuantized"(%w, %i, %s) {bits = 4 : si64, block_size = 32 : si64, gather_axis = 0 : si64, quantize_axis = 1 : si64} domain("com.microsoft") version(1) name("gather")
    : (tensor<4x16xui8>, tensor<5xi64>, tensor<4x2xf32>) -> tensor<5x32xf32>
  return %y : tensor<5x32xf32>
}

// -----

func.func @dequantize(%x: tensor<5x20xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<-3> : tensor<20x3xi4>
  %s = arith.constant dense<0.5> : tensor<3x3xf32>
  // expected-error @below {{node 'dequantize' (DequantizeLinear) expects a scale for each of the blocks of 16 along axis 0 of 'tensor<20x3xi4>', but got 'tensor<3x3xf32>'}}
  %d = miura.onnx_node "DequantizeLinear"(%w, %s) {axis = 0 : si64, block_size = 16 : si64} version(21) name("dequantize") : (tensor<20x3xi4>, tensor<3x3xf32>) -> tensor<20x3xf32>
  %y = miura.onnx_node "MatMul"(%x, %d) version(13) : (tensor<5x20xf32>, tensor<20x3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// RUN: miura-opt %s --miura-form-session --split-input-file --verify-diagnostics

// expected-error @below {{is no decoder that runs token by token: no function has an argument with the role of tokens}}
module {}

// -----

// expected-error @below {{has no result with the role of logits}}
func.func @no_logits(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}) -> tensor<?x?xi64> {
  return %ids : tensor<?x?xi64>
}

// -----

func.func @not_causal(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>)
    -> (tensor<?x2x?x4xf32> {miura.role = #miura.role<logits>}) {
  // expected-error @below {{is not causal; only a causal decoder can be run step by step}}
  %a = miura.attention %h, %h, %h scale 0.5 : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

// -----

func.func @open_mask(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>, %m: tensor<?x1x?x?xi1>)
    -> (tensor<?x2x?x4xf32> {miura.role = #miura.role<logits>}) {
  // expected-error @below {{has a mask that is not in closed form}}
  %a = miura.attention %h, %h, %h mask %m : tensor<?x1x?x?xi1> scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

// -----

func.func @fixed_length(%ids: tensor<1x4xi64> {miura.role = #miura.role<tokens>}, %h: tensor<1x2x4x4xf32>, %m: tensor<1x1x4x4xi1>)
    -> (tensor<1x2x4x4xf32> {miura.role = #miura.role<logits>}) {
  // expected-error @below {{the tokens have a fixed length, for which an exporter computes masks and positions in advance: export the model with a dynamic sequence}}
  %a = miura.attention %h, %h, %h mask %m : tensor<1x1x4x4xi1> scale 0.5
      : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  return %a : tensor<1x2x4x4xf32>
}

// -----

func.func @counted_scale(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>, %n: tensor<i64>)
    -> (tensor<?x2x?x4xf32> {miura.role = #miura.role<logits>}) {
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  // expected-error @below {{counts the input's tokens for an attention}}
  %r = miura.onnx_node "Range"(%zero, %n, %one) version(11) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %f = arith.sitofp %r : tensor<?xi64> to tensor<?xf32>
  %q = miura.onnx_node "Mul"(%h, %f) version(14) : (tensor<?x2x?x4xf32>, tensor<?xf32>) -> tensor<?x2x?x4xf32>
  %a = miura.attention %q, %h, %h scale 0.5 causal
      : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

// -----

// expected-error @below {{none of its results is over the vocabulary, so what it gives are hidden states}}
func.func @hidden_states(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32> {
  %a = miura.attention %h, %h, %h scale 0.5 causal : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

// -----

// expected-error @below {{node 'layers.0/Softmax' (Softmax) is no attention of a known form}}
func.func @no_attention(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32> {
  %a = miura.onnx_node "Softmax"(%h) version(18) name("layers.0/Softmax") : (tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

// -----

// expected-error @below {{its attention is not causal, as an encoder's is}}
func.func @encoder(%ids: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %h: tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32> {
  %a = miura.attention %h, %h, %h scale 0.5 : tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32> -> tensor<?x2x?x4xf32>
  return %a : tensor<?x2x?x4xf32>
}

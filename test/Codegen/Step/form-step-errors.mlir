// RUN: miura-opt %s --miura-form-step -split-input-file -verify-diagnostics

// expected-error @+1 {{argument 0 has no role in a session}}
func.func @step(%x: tensor<?x4xf32>) -> tensor<?x4xf32> attributes {miura.session} {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error @+1 {{argument 1 has the role #miura.role<tokens> of another argument}}
func.func @step(%x: tensor<?x?xi64> {miura.role = #miura.role<tokens>}, %y: tensor<?x?xi64> {miura.role = #miura.role<tokens>})
    attributes {miura.session} {
  return
}

// -----

// expected-error @+1 {{has no result with the role of logits}}
func.func @step(%x: tensor<?x?xi64> {miura.role = #miura.role<tokens>}) attributes {miura.session} {
  return
}

// -----

// expected-error @+1 {{layer 0 has no key or value cache}}
func.func @step(%x: tensor<?x2x?x4xf32> {miura.role = #miura.role<cache_key, layer = 0>})
    attributes {miura.session} {
  return
}

// -----

// expected-error @+1 {{result 0 has no role that a session returns}}
func.func @step(%x: tensor<?x?xi64> {miura.role = #miura.role<tokens>}) -> tensor<?x?xi64> attributes {miura.session} {
  return %x : tensor<?x?xi64>
}

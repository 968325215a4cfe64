//===- Raiser.h - What the matchers of miura-raise share --------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The state of raising one function, and its phases. A phase looks at the
/// nodes in program order, replaces values by equal ones made of model ops, and
/// leaves the nodes that thereby lose their uses to the last phase. So what the
/// analysis knows of a value stays true, and no phase depends on a fixed point.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_LIB_CONVERSION_ONNXTOMIURA_RAISER_H
#define MIURA_LIB_CONVERSION_ONNXTOMIURA_RAISER_H

#include "StoredCodes.h"
#include "miura/Conversion/ONNXToMiura/TensorAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSet.h"

namespace miura {

class Raiser {
public:
  using Expr = symbolic::Expr;
  using Shape = TensorAnalysis::Shape;
  using Indices = TensorAnalysis::Indices;

  Raiser(mlir::ModuleOp module, mlir::func::FuncOp func)
      : module(module), func(func), builder(func.getContext()),
        analysis(context), stored(module) {}

  /// Fails where a node contradicts its operator; the error names it.
  mlir::LogicalResult run();

private:
  // The phases, in this order.
  void readTypes();        // encodings to attributes, sizes to types
  void raiseConstants();   // Constant, Identity, …
  void readTables();       // stored masks
  void raiseStoredCodes(); // weights that a node quantizes
  void raiseRoundings();   // activations of static quantization
  void raiseScatters();    // rows that are put in place
  void expandFused();      // nodes that say several
  void raiseExpertLoops(); // experts taken one by one
  void raiseLinears();     // MatMul, Gemm, Gather of weights
  void raiseNorms();       // RMSNorm, LayerNorm
  void raiseActivations(); // SiLU, GELU
  void raiseCaches();      // past + new
  void raiseRopes();
  void raisePositions(); // what counts tokens
  void raiseAttentions();
  void raiseViews(); // what Reshape and Transpose chains are
  void raiseSizes(); // sizes that the tokens' shape tells
  void raiseElementwise();
  void setRoles();
  /// Even a function that is not raised to the end agrees with its type.
  void setFunctionType();
  void finish(); // dead nodes, function type, remarks

  /// Calls `f` on the nodes of the function's body that were there when the
  /// phase began and still have uses.
  void forEachNode(llvm::function_ref<void(OnnxNodeOp)> f);
  /// All uses of `from` get `to`, which means the same.
  void replace(mlir::Value from, mlir::Value to);
  mlir::RankedTensorType getType(const Shape &shape, mlir::Type elementType);
  /// The module that `op` lies in: what import noted, else the name of the
  /// node, where that is a path (`/model/layers.0/self_attn/q_proj/MatMul`).
  static std::string readPath(OnnxNodeOp op);
  /// An id not given yet.
  mlir::StringAttr makeId(mlir::Value weight, OnnxNodeOp use);
  /// Whether the value is stored in the file: a weight_data or a constant.
  static bool isStored(mlir::Value value);
  /// The only use of a value, as a node; null if there are several.
  static OnnxNodeOp getOnlyUser(mlir::Value value);
  /// The operand of a two-operand node that is not `other`.
  static mlir::Value getOther(OnnxNodeOp op, mlir::Value other);
  /// Through Cast between floating-point types.
  static mlir::Value skipFloatCasts(mlir::Value value);

  // RaiseLinears.cpp
  /// A stored matrix as out × in, or null.
  mlir::Value getLinearWeight(mlir::Value value, bool outIn, mlir::Value &root);
  bool raiseProduct(OnnxNodeOp op);
  /// Puts `x · weightᵀ` in place of the node's result. `root` is the stored
  /// tensor that names the use.
  void replaceByLinear(OnnxNodeOp op, mlir::Value x, mlir::Value weight,
                       mlir::Value root, mlir::Value bias, ComputeAttr compute);
  bool raiseEmbedding(OnnxNodeOp op);
  /// GatherElements that takes whole rows of a stored table.
  bool raiseGatheredRows(OnnxNodeOp op);
  /// The indices by which a node takes rows of its first operand, or null.
  mlir::Value getRowIndices(OnnxNodeOp op);
  void foldBias(OnnxNodeOp add);
  /// x plus a vector over its last dimension, or null if x is no linear that
  /// can take it along.
  mlir::Value addVector(mlir::Value x, mlir::Value vector,
                        mlir::Operation *before);

  // RaiseQuantized.cpp
  /// The expression of the matrix that a DequantizeLinear of stored codes is,
  /// or null. `root` is what stores the codes.
  mlir::Value getDequantized(mlir::Value value, mlir::Value &root);
  bool raiseQuantizedGather(OnnxNodeOp op);

  // RaiseDynamicQuantized.cpp
  /// MatMulInteger times its scales.
  bool raiseIntegerProduct(OnnxNodeOp op);

  // RaiseRoundings.cpp
  /// Multiplied with `factor`, what a rounding takes; null where that is no
  /// rounding.
  static RoundingAttr divideScale(RoundingAttr rounding, double factor);

  // RaiseBlockQuantized.cpp
  bool raiseMatMulNBits(OnnxNodeOp op);
  bool raiseMatMulBnb4(OnnxNodeOp op);
  bool raiseGatherBlockQuantized(OnnxNodeOp op);
  /// What stores a value, through changes of shape; null if nothing does.
  mlir::Value getStored(mlir::Value value);
  /// An error at a node that contradicts its operator. Raising fails.
  mlir::InFlightDiagnostic reject(OnnxNodeOp op);

  /// Codes of `bits` and what they mean, `out × in` as the file stores them.
  struct CodedMatrix {
    mlir::Value codes;  // in any stored type
    mlir::Value scales; // of the shape below, or the same number of elements
    mlir::Value zeros;  // null: `zero`
    int64_t rows, columns, storedColumns;
    unsigned bits;
    bool isUnsigned;
    unsigned zero;                    // where there are no zeros
    llvm::SmallVector<int64_t> block; // as of miura.dequantize
    mlir::RankedTensorType scalesType, zerosType;
  };
  /// Its expression; null where its bytes cannot be had.
  mlir::Value makeDequantize(const CodedMatrix &matrix, mlir::Location loc);

  // RaiseNorms.cpp
  /// `value` = x / sqrt(mean(x²) + ε), without a scale.
  bool matchRms(mlir::Value value, mlir::Value &x, double &epsilon);
  bool matchMeanPlusEpsilon(mlir::Value value, mlir::Value &x, double &epsilon);
  /// `value` = 1 / sqrt(root).
  mlir::Value matchInverseRoot(mlir::Value value);
  bool matchLayerNorm(mlir::Value value, mlir::Value &x, double &epsilon);
  bool raiseFusedNorm(OnnxNodeOp op);
  /// Where a norm's scale is no vector (one per head, say), the scaled tensor
  /// is what attentions and rotations read, not a product to look into.
  void keepScaled(mlir::Value normalized);
  /// So is what a norm in f32 is rounded to.
  void keepRounded(mlir::Value normalized);
  void emitRms(mlir::Value normalized, mlir::Value x, double epsilon);
  void emitLayerNorm(mlir::Value normalized, mlir::Value x, double epsilon);
  /// The vector of size `size` that a value is, of rank 1, or null.
  mlir::Value getVector(mlir::Value value, Expr size);

  // RaiseViews.cpp
  /// The value whose element at [b, t, …] the expression is, as batch × heads ×
  /// sequence × size. `head` is what stands for the head: h, or ⌊h / group⌋.
  struct HeadAxes {
    Expr batch, head, sequence, size;
    int64_t heads, headSize;
  };
  mlir::Value getHeads(mlir::Value tensor, llvm::ArrayRef<Expr> indices,
                       const HeadAxes &axes, mlir::Operation *before);
  void raiseView(mlir::Operation *op);
  mlir::Value makeSplitHeads(mlir::Value flat, int64_t heads,
                             mlir::Operation *before);
  mlir::Value makeMergeHeads(mlir::Value split, mlir::Operation *before);
  /// A view to a shape of other rank, by reassociation, or null.
  mlir::Value makeReshape(mlir::Value value, const Shape &shape,
                          mlir::Operation *before);

  // RaiseRope.cpp
  bool raiseRope(OnnxNodeOp op);
  bool raisePartialRope(OnnxNodeOp op);
  /// batch × heads × sequence × size with every head `count` times.
  mlir::Value repeatHeads(mlir::Value heads, int64_t count, OnnxNodeOp before);
  mlir::Value makeAngle(mlir::Value tensor, llvm::ArrayRef<Expr> indices,
                        Expr batch, Expr sequence, Expr place, int64_t width,
                        int64_t rotated, bool interleaved, double factor,
                        mlir::Operation *before);

  // RaisePositions.cpp
  /// The table that the tokens index, or null.
  EmbeddingOp findVocabulary(mlir::BlockArgument &tokens);
  /// Arguments that rotations depend on, or tables that are not indexed by
  /// `tokens`: a model may have several of these, one per layer say.
  llvm::SmallVector<mlir::BlockArgument>
  findPositions(mlir::BlockArgument tokens);
  bool countsTokens(mlir::Value value, const Shape &tokens, bool batched,
                    mlir::Value &past);
  /// The new tokens' part of what a file computes for every key, in `indices`.
  void takeNewPositions(EmbeddingOp op, mlir::BlockArgument tokens);
  mlir::Value getPositions(mlir::BlockArgument tokens, mlir::Value past);
  /// `value` with miura.positions in place of what counts tokens; null if
  /// nothing does. Not `batched`: all rows in one sequence.
  mlir::Value countAnew(mlir::Value value, mlir::BlockArgument tokens,
                        bool batched,
                        llvm::DenseMap<mlir::Value, mlir::Value> &done);
  mlir::Value perRow(mlir::Value value, mlir::BlockArgument tokens,
                     llvm::DenseMap<mlir::Value, mlir::Value> &flat,
                     llvm::DenseMap<mlir::Value, mlir::Value> &batched);

  // RaiseAttention.cpp
  bool raiseAttention(OnnxNodeOp softmax);
  /// The indices by which a factor of a product with `product`'s last two
  /// replaced by its own is read; empty if it does not broadcast to them.
  Indices getOwnIndices(mlir::Value factor, const Indices &product, Expr row,
                        Expr column);
  /// The element below views and constant factors, as one of a tensor that is
  /// computed: queries may be scaled by position, say.
  Expr getComputed(mlir::Value value, Indices at);
  /// The sizes batch × heads × queries × keys of scores that have batch and
  /// heads in one dimension; null if no view tells them apart.
  std::optional<Shape> getSplitScores(mlir::Value scores);
  /// One mask on the way from scores to their softmax.
  struct MaskPart {
    mlir::Value value;
    /// What a hidden score becomes, for a condition; an additive mask has none.
    std::optional<double> hidden;
    bool negated = false;
    /// What an additive mask is multiplied with.
    double factor = 1;
    /// Where (b, h, i, j) reads it.
    Indices indices;
    bool isAdditive() const { return !hidden; }
  };
  /// An attention before its masks are understood.
  struct AttentionParts {
    /// batch × heads × sequence × size each.
    mlir::Value query, key, value;
    /// One score per head, or null.
    mlir::Value sinks;
    /// (b, h, i, j), and the sizes that they run over.
    Indices at;
    Shape shape;
    llvm::SmallVector<MaskPart> masks;
    /// What no score is below, where a file says so.
    double lowest = -std::numeric_limits<double>::infinity();
    /// Whether a query that sees no key gives zeros.
    bool zeroesBlind = false;
    bool causal = false;
    int64_t window = 0;
    double scale = 1, softcap = 0;
    /// What is rounded on the way; null: nothing.
    RoundingAttr keyRounding, valueRounding, scoreRounding, weightRounding;
  };
  /// The stored or computed tensor that an element is of, times a factor;
  /// through a rounding, which is noted. A null atom where it is of no such
  /// form.
  std::pair<double, Expr> getRoundedAtom(Expr element, RoundingAttr &rounding);
  void foldBlindRows(AttentionOp attention);
  /// Keys or values, whose heads may be shared by several query heads.
  mlir::Value getGroupedHeads(Expr atom, HeadAxes axes,
                              mlir::Operation *before);
  mlir::Value makeAttention(const AttentionParts &parts, mlir::Type element,
                            mlir::Operation *before);
  void splitMask(const MaskPart &mask, llvm::SmallVectorImpl<MaskPart> &parts);
  mlir::Value makeMask(const AttentionParts &parts, const MaskPart &mask,
                       mlir::Operation *before);

  /// Places in a mask that the sizes alone tell.
  void foldPlaces(OnnxNodeOp op);

  // ExpandEinsum.cpp
  bool expandEinsum(OnnxNodeOp op);

  // RaiseScatters.cpp
  bool raiseScatter(OnnxNodeOp op);
  /// Appends the rows `first` … `last` − 1 of a tensor, in one or more parts.
  bool appendRows(mlir::Value tensor, int64_t first, Expr last,
                  OnnxNodeOp before, llvm::SmallVectorImpl<mlir::Value> &rows);

  // ExpandAttention.cpp
  bool expandAttention(OnnxNodeOp op);
  /// A node of ai.onnx at the insertion point, in the name of `origin`; null if
  /// its shape is neither given nor known.
  mlir::Value makeNode(OnnxNodeOp origin, llvm::StringRef type, int64_t version,
                       mlir::ValueRange inputs,
                       llvm::ArrayRef<mlir::NamedAttribute> attributes,
                       mlir::Type element, Shape shape = {});
  /// A stored vector of whole numbers, at the insertion point.
  mlir::Value makeVector(mlir::Location loc, llvm::ArrayRef<int64_t> values);
  /// A whole number as nodes have it.
  mlir::NamedAttribute makeInt(llvm::StringRef name, int64_t value);

  // RaiseExpertLoops.cpp
  class ExpertLoop;

  // ExpandQuantized.cpp
  /// Spells an operator from codes to codes out.
  bool expandQuantized(OnnxNodeOp op);
  /// Whether a node moves elements of its first operand and does no more.
  static bool isMove(OnnxNodeOp op);
  /// Moves a DequantizeLinear with one scale before changes of shape.
  bool decodeBeforeMoves(OnnxNodeOp op);
  /// The numbers of codes, scale and zero point at operands `first` and on;
  /// scales may differ along `axis`, the last. Null where they do not.
  mlir::Value decode(OnnxNodeOp op, unsigned first, int64_t axis);
  mlir::Value decodeBias(OnnxNodeOp op, mlir::Value bias, mlir::Value a,
                         mlir::Value b);

  // RaiseExperts.cpp
  void raiseExperts();
  bool raiseExpertProduct(OnnxNodeOp product);
  bool raiseGroupedProducts(OnnxNodeOp concat);

  // RaiseFusedAttention.cpp
  bool raiseFusedAttention(OnnxNodeOp op);
  bool raiseStandardAttention(OnnxNodeOp op);
  bool raiseGroupQueryAttention(OnnxNodeOp op);
  /// The int8 codes of a value with one scale, as numbers.
  mlir::Value encode(mlir::Value value, double scale, mlir::Operation *before);
  /// `added` behind the past of a cache.
  mlir::Value appendToPast(mlir::Value past, mlir::Value added,
                           mlir::Operation *before);
  mlir::Value takeColumns(mlir::Value tensor, int64_t start, int64_t size,
                          mlir::Operation *before);
  mlir::Value takeAngles(mlir::Value positions, mlir::Value table,
                         int64_t rotated, bool interleaved,
                         mlir::Operation *before);
  bool raiseFusedRope(OnnxNodeOp op);
  /// cos or sin for every rotated entry, from those of one half.
  mlir::Value widenAngle(mlir::Value half, int64_t rotated, bool interleaved,
                         mlir::Operation *before);
  /// A tensor of one number, of the type and sizes of `like`.
  mlir::Value makeSplat(mlir::Value like, double number,
                        mlir::Operation *before);
  mlir::Value scaleBy(mlir::Value value, double factor,
                      mlir::Operation *before);

  // RaiseMasks.cpp
  /// What a mask lets a query see, in closed form where it has one.
  struct MaskForm {
    bool causal = false;
    int64_t window = 0;
    mlir::Value padding;
    /// By how much each head's scores grow from key to key; empty: not at all.
    llvm::SmallVector<float> slopes;
  };
  /// The slopes per head of an element at (b, h, i, j) that is one times j and
  /// what is the same for all keys; nothing where it is something else.
  std::optional<llvm::SmallVector<float>>
  getSlopes(Expr element, llvm::ArrayRef<Expr> at, int64_t heads);
  /// `condition` at (b, h, i, j); keysBefore = keys − queries. Conjuncts that
  /// are part of the closed form go into `form`; returns whether all are.
  bool classifyMask(Expr condition, Expr b, Expr i, Expr j, Expr keysBefore,
                    Expr keys, MaskForm &form);
  /// Puts what masks say into `form`; one that has no closed form is `kept`.
  bool resolveMasks(const AttentionParts &parts, MaskForm &form,
                    const MaskPart *&kept, std::optional<double> &hiddenScore,
                    bool &hiddenOnce);
  /// The condition under which an additive mask is 0, where else it is −∞ (or,
  /// if not `strict`, so large that it hides a key). Null if it is neither.
  Expr getVisible(Expr mask, bool strict);

  mlir::ModuleOp module;
  mlir::func::FuncOp func;
  mlir::OpBuilder builder;
  symbolic::Context context;
  TensorAnalysis analysis;
  StoredCodes stored;
  bool hasFailed = false;
  /// Codes of activations as the numbers that they stand for.
  llvm::DenseMap<mlir::Value, mlir::Value> roundedInputs;
  llvm::StringSet<> ids;
  /// Of each id with a known place in the trained model.
  llvm::StringMap<std::string> paths;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, mlir::Value> splits;
  /// The argument with the tokens, once asked for.
  std::optional<mlir::BlockArgument> tokensArgument;
  /// A size, a sum of products of the tokens' sizes, as an index; null if it is
  /// another.
  mlir::OpFoldResult makeSize(Expr size, mlir::Operation *before);
  /// A tensor of sizes, from the tokens' shape; null if it is no such or known.
  mlir::Value makeSizes(mlir::Value value, mlir::Operation *before);
  /// miura.positions by what they lie behind.
  llvm::DenseMap<mlir::Value, mlir::Value> positionsBehind;
};

} // namespace miura

#endif // MIURA_LIB_CONVERSION_ONNXTOMIURA_RAISER_H

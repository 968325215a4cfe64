//===- RaiseExpertLoops.cpp - Experts that a file takes one by one --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Of choices[t, k], the experts that token t chose, some files find for each
/// expert e where it was chosen, (t, k) = NonZero(choices == e), compute a
/// function f of these tokens' rows and add what comes out to the tokens' sums:
///
///   y[t] = Σₑ Σ_{k: choices[t, k] = e} fₑ(x[t], t, k)
///
/// If the functions differ in stored tensors only, that is Σₖ f(x[t], t, k)
/// with the tensors of expert choices[t, k]: one computation over all pairs (t,
/// k), in which a product with an expert's matrix is miura.expert_linear.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

namespace {
using Indices = TensorAnalysis::Indices;

/// What one expert adds to the sum.
struct Part {
  Value update;
  /// Where it was chosen, a NonZero's result, and the row of it that is t.
  Value places;
  int64_t tokenAxis;
  int64_t expert;
};

/// A value of every expert's function, and where it has the element of the n-th
/// chosen pair at column d.
struct Rows {
  SmallVector<Value> values;
  SmallVector<Indices> at;
};
} // namespace

class Raiser::ExpertLoop {
public:
  ExpertLoop(Raiser &raiser, OnnxNodeOp last)
      : raiser(raiser), context(raiser.context), analysis(raiser.analysis),
        last(last) {}

  /// Replaces the sum that `last` completes, if it is one over experts.
  bool raise();
  ArrayRef<OnnxNodeOp> getNodes() const { return nodes; }

private:
  bool collect(Value sum);
  bool readPart(Value update, Value tokens);
  /// The row of places that an index vector is; −1 where it is none.
  int64_t getAxis(Expr index, Value places);
  Value lift(Rows rows);
  Value stepThroughView(Value value, Indices &at);
  /// Whether an index is that of a pair of the part's: t · chosen + k.
  bool isPair(Expr index, const Part &part);
  Value liftGather(const Rows &rows);
  Value liftProduct(const Rows &rows);
  Value liftElementwise(const Rows &rows);
  Value liftStored(const Rows &rows);
  Value makeNode(StringRef type, int64_t version, ValueRange inputs,
                 ArrayRef<NamedAttribute> attributes, Type element,
                 ArrayRef<Expr> shape) {
    return raiser.makeNode(last, type, version, inputs, attributes, element,
                           TensorAnalysis::Shape(shape));
  }
  Value makeSizes(ArrayRef<int64_t> sizes) {
    return raiser.makeVector(last.getLoc(), sizes);
  }
  Expr makeIndex(StringRef name, Expr limit) {
    return context.index(name, limit);
  }

  Raiser &raiser;
  Context &context;
  TensorAnalysis &analysis;
  OnnxNodeOp last;
  SmallVector<Part> parts;
  SmallVector<OnnxNodeOp> nodes; // that make the sum
  Value choices;                 // tokens × chosen, whole numbers
  Expr tokens, rows;             // how many tokens, and pairs
  int64_t chosen = 0;            // experts per token
  Value pairs;                   // the expert of every pair
  DenseMap<Value, Value> lifted; // of the first expert's values
};

int64_t Raiser::ExpertLoop::getAxis(Expr index, Value places) {
  auto [one, atom] = getScaledAtom(index);
  if (one != 1 || !atom || atom->kind != Kind::Element ||
      atom->tensor != places || atom->operands.size() != 2)
    return -1;
  return getInteger(atom->operands[0]).value_or(-1);
}

bool Raiser::ExpertLoop::readPart(Value update, Value where) {
  // The tokens are a row of a NonZero, the same in all columns.
  const TensorAnalysis::Shape *shape = analysis.getShape(where);
  if (!shape || shape->size() != 2)
    return false;
  Indices at = analysis.makeIndices(where, "s");
  Expr token = analysis.getElement(where, at);
  Expr atom = getScaledAtom(token).second;
  OnnxNodeOp places = atom && atom->kind == Kind::Element
                          ? getNode(atom->tensor, "NonZero")
                          : OnnxNodeOp();
  int64_t axis = places ? getAxis(token, places.getResult(0)) : -1;
  if ((axis != 0 && axis != 1) || atom->operands[1] != at[0])
    return false;
  // Of which (a, b) are there: those that chose one expert.
  Value condition = getInput(places, 0);
  const TensorAnalysis::Shape *table = analysis.getShape(condition);
  if (!table || table->size() != 2)
    return false;
  Expr a = makeIndex("p", (*table)[0]), b = makeIndex("q", (*table)[1]);
  Expr holds = context.toCondition(analysis.getElement(condition, {a, b}));
  if (!holds || holds->kind != Kind::Zero)
    return false;
  Expr difference = holds->operands[0];
  const Term *choice = nullptr;
  double expert = 0;
  for (const Term &term : difference->terms)
    if (term.atoms.empty())
      expert = term.coefficient;
    else if (choice || term.atoms.size() != 1 ||
             std::abs(term.coefficient) != 1)
      return false;
    else
      choice = &term;
  if (!choice || choice->atoms[0]->kind != Kind::Element ||
      choice->atoms[0]->operands.size() != 2)
    return false;
  expert /= -choice->coefficient;
  Expr t = axis == 0 ? a : b, k = axis == 0 ? b : a;
  Expr element = choice->atoms[0];
  if (element->operands[0] != t || element->operands[1] != k ||
      (choices && choices != element->tensor))
    return false;
  choices = element->tensor;
  parts.push_back({update, places.getResult(0), axis, (int64_t)expert});
  return true;
}

bool Raiser::ExpertLoop::collect(Value sum) {
  // An empty sum is a splat of zero.
  for (int steps = 0; steps < 4096; ++steps) {
    if (analysis.getSplat(sum) == 0.0)
      return true;
    OnnxNodeOp add = getNode(sum, "Add");
    OnnxNodeOp scatter;
    if (add) {
      // The updates, put into zeros.
      for (unsigned side = 0; side < 2 && !scatter; ++side) {
        scatter = getNode(getInput(add, side), "ScatterElements");
        StringRef reduction = scatter ? getString(scatter, "reduction") : "";
        bool isPlain =
            reduction.empty() || reduction == "none" || reduction == "add";
        if (!scatter || !isPlain ||
            analysis.getSplat(getInput(scatter, 0)) != 0.0)
          scatter = {};
        else
          sum = getInput(add, 1 - side);
      }
    } else {
      // In one node: what is there plus the updates.
      scatter = getNode(sum, "ScatterElements");
      if (!scatter)
        scatter = getNode(sum, "ScatterND");
      if (!scatter || getString(scatter, "reduction") != "add")
        return false;
      sum = getInput(scatter, 0);
    }
    if (!scatter)
      return false;
    if (isNode(scatter, "ScatterElements") && getInt(scatter, "axis", 0) != 0)
      return false;
    if (!readPart(getInput(scatter, 2), getInput(scatter, 1)))
      return false;
    nodes.push_back(scatter);
    if (add)
      nodes.push_back(add);
  }
  return false;
}

Value Raiser::ExpertLoop::liftStored(const Rows &rows) {
  // One tensor for all, or one for each.
  if (llvm::all_equal(rows.values))
    return rows.values[0];
  auto type = cast<RankedTensorType>(rows.values[0].getType());
  if (type.getRank() != 1)
    return {};
  FailureOr<Value> stack = raiser.stored.stack(rows.values);
  if (failed(stack))
    return {};
  return makeNode("Gather", 13, {*stack, pairs}, {}, type.getElementType(),
                  {this->rows, context.integer(type.getDimSize(0))});
}

bool Raiser::ExpertLoop::isPair(Expr index, const Part &part) {
  // t · chosen + k
  if (index->kind != Kind::Poly || index->terms.size() != 2)
    return false;
  int64_t seen = 0;
  for (const Term &term : index->terms) {
    Expr atom = term.atoms.size() == 1 ? term.atoms[0] : nullptr;
    if (!atom || atom->kind != Kind::Element || atom->tensor != part.places)
      return false;
    bool isToken = getInteger(atom->operands[0]) == part.tokenAxis;
    if (term.coefficient != (isToken ? double(chosen) : 1.0))
      return false;
    seen += isToken ? 1 : 2;
  }
  return seen == 3;
}

Value Raiser::ExpertLoop::liftGather(const Rows &rows) {
  Expr t = makeIndex("t", tokens), k = makeIndex("k", context.integer(chosen));
  Expr pair = context.add(context.mul(t, context.integer(chosen)), k);
  // All take the same numbers: a token's row, or what belongs to a pair.
  Expr taken = nullptr;
  bool isPerPair = false;
  for (auto [i, part] : llvm::enumerate(parts)) {
    OnnxNodeOp gather = getNode(rows.values[i], "Gather");
    if (!gather)
      return {};
    Value data = getInput(gather, 0), where = getInput(gather, 1);
    const TensorAnalysis::Shape *shape = analysis.getShape(data);
    const TensorAnalysis::Shape *places = analysis.getShape(where);
    if (!shape || !places)
      return {};
    int64_t axis = getInt(gather, "axis", 0);
    if (axis < 0)
      axis += shape->size();
    auto first = rows.at[i].begin() + axis, behind = first + places->size();
    Expr index = analysis.getElement(where, Indices(first, behind));
    isPerPair = isPair(index, part);
    if (!isPerPair && getAxis(index, part.places) != part.tokenAxis)
      return {};
    // Columns are the same symbol for all experts.
    Indices own(rows.at[i].begin(), first);
    own.push_back(isPerPair ? pair : t);
    own.append(behind, rows.at[i].end());
    for (auto [e, size] : llvm::zip_equal(own, *shape))
      if (e != t && e != pair && !isConstant(size, 1))
        e = makeIndex("d", size);
    Expr element = analysis.getElement(data, own);
    if (taken && taken != element)
      return {};
    taken = element;
  }
  if (isPerPair) {
    // An element of tokens × chosen.
    auto [one, atom] = getScaledAtom(taken);
    if (one != 1 || !atom || atom->kind != Kind::Element ||
        atom->operands.size() != 2 || atom->operands[0] != t ||
        atom->operands[1] != k)
      return {};
    Value source = atom->tensor;
    Type element = getElementTypeOrSelf(source.getType());
    // In steps that are views each.
    Value flat = makeNode("Reshape", 14, {source, makeSizes({-1})}, {}, element,
                          {this->rows});
    return makeNode("Unsqueeze", 13, {flat, makeSizes({1})}, {}, element,
                    {this->rows, context.integer(1)});
  }
  auto gather = rows.values[0].getDefiningOp<OnnxNodeOp>();
  Value source = getInput(gather, 0);
  TensorAnalysis::Shape shape;
  for (Expr size : *analysis.getShape(source))
    if (!isConstant(size, 1))
      shape.push_back(size);
  std::optional<int64_t> columns = getInteger(shape.back());
  if (shape.size() != 2 || shape[0] != tokens || !columns)
    return {};
  Type element = getElementTypeOrSelf(source.getType());
  // Every token's row once for each of its choices.
  Expr one = context.integer(1), count = context.integer(chosen);
  Value flat = makeNode("Reshape", 14, {source, makeSizes({-1, *columns})}, {},
                        element, shape);
  Value cube = makeNode("Unsqueeze", 13, {flat, makeSizes({1})}, {}, element,
                        {tokens, one, shape[1]});
  cube =
      makeNode("Concat", 13, SmallVector<Value>(chosen, cube),
               {raiser.makeInt("axis", 1)}, element, {tokens, count, shape[1]});
  return makeNode("Reshape", 14, {cube, makeSizes({-1, *columns})}, {}, element,
                  {this->rows, shape[1]});
}

/// What the paths of the experts' modules have in common: `experts.gate_proj`
/// of `experts.0.gate_proj` and its likes.
static std::string getCommonPath(ArrayRef<std::string> paths) {
  SmallVector<StringRef> common;
  StringRef(paths.front()).split(common, '.');
  for (StringRef path : paths) {
    SmallVector<StringRef> own;
    path.split(own, '.');
    if (own.size() != common.size())
      return paths.front();
    for (auto [component, other] : llvm::zip(common, own))
      if (component != other)
        component = "";
  }
  llvm::erase(common, "");
  return llvm::join(common, ".");
}

Value Raiser::ExpertLoop::liftProduct(const Rows &rows) {
  auto first = rows.values[0].getDefiningOp<OnnxNodeOp>();
  bool isGemm = isNode(first, "Gemm");
  Rows input, matrix, bias;
  for (auto [value, at] : llvm::zip(rows.values, rows.at)) {
    auto node = value.getDefiningOp<OnnxNodeOp>();
    if (!node || node.getOpType() != first.getOpType() ||
        node.getNumOperands() != first.getNumOperands() || at.size() != 2 ||
        node.getOnnxAttributes() != first.getOnnxAttributes())
      return {};
    const TensorAnalysis::Shape *x = analysis.getShape(getInput(node, 0));
    auto w = dyn_cast<RankedTensorType>(getInput(node, 1).getType());
    if (!x || x->size() != 2 || !w || w.getRank() != 2 ||
        !isStored(getInput(node, 1)))
      return {};
    Expr column = makeIndex("d", (*x)[1]);
    input.values.push_back(getInput(node, 0));
    input.at.push_back({at[0], column});
    matrix.values.push_back(getInput(node, 1));
    if (Value c = getInput(node, 2)) {
      if (!isStored(c))
        return {};
      bias.values.push_back(c);
    }
  }
  if (isGemm &&
      (getInt(first, "transA", 0) || getFloat(first, "alpha", 1) != 1 ||
       getFloat(first, "beta", 1) != 1))
    return {};
  bool isOutIn = isGemm && getInt(first, "transB", 0);
  Value x = lift(input);
  if (!x)
    return {};
  FailureOr<Value> stack = raiser.stored.stack(matrix.values);
  if (failed(stack))
    return {};
  Value weight = *stack;
  auto type = cast<RankedTensorType>(weight.getType());
  ArrayRef<int64_t> sizes = type.getShape();
  if (!isOutIn)
    weight = TransposeOp::create(
        raiser.builder, last.getLoc(),
        RankedTensorType::get({sizes[0], sizes[2], sizes[1]},
                              type.getElementType()),
        weight);
  Value biases;
  if (!bias.values.empty()) {
    FailureOr<Value> all = raiser.stored.stack(bias.values);
    if (failed(all) || cast<RankedTensorType>(all->getType()).getRank() != 2)
      return {};
    biases = *all;
  }
  StringAttr id = raiser.makeId(*stack, first);
  std::vector<std::string> paths;
  for (Value value : rows.values)
    paths.push_back(readPath(value.getDefiningOp<OnnxNodeOp>()));
  if (std::string path = getCommonPath(paths); !path.empty())
    raiser.paths[id] = path;
  Type element = getElementTypeOrSelf(rows.values[0].getType());
  TensorAnalysis::Shape shape{
      this->rows,
      context.integer(cast<RankedTensorType>(weight.getType()).getDimSize(1))};
  Value linear = ExpertLinearOp::create(
      raiser.builder, last.getLoc(), raiser.getType(shape, element), x, weight,
      pairs, biases, id,
      ComputeAttr::get(last.getContext(), element, raiser.builder.getF32Type(),
                       0));
  analysis.setShape(linear, shape);
  return linear;
}

Value Raiser::ExpertLoop::liftElementwise(const Rows &rows) {
  auto first = rows.values[0].getDefiningOp<OnnxNodeOp>();
  bool isKnown =
      llvm::StringSwitch<bool>(first.getOpType())
          .Cases({"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Cast"},
                 true)
          .Cases({"Sigmoid", "Tanh", "Erf", "Relu", "Gelu", "Softplus", "Exp",
                  "Sqrt", "Neg", "Abs", "Clip", "HardSigmoid", "LeakyRelu",
                  "Elu"},
                 true)
          .Default(false);
  if (!isKnown || !first.hasStandardDomain())
    return {};
  for (Value value : rows.values) {
    auto node = value.getDefiningOp<OnnxNodeOp>();
    if (!node || node.getOpType() != first.getOpType() ||
        node.getNumOperands() != first.getNumOperands() ||
        node.getOnnxAttributes() != first.getOnnxAttributes())
      return {};
  }
  SmallVector<Value> operands;
  Expr width = context.integer(1);
  for (unsigned i = 0; i < first.getNumOperands(); ++i) {
    Rows operand;
    bool isStoredOperand = true;
    for (auto [value, at] : llvm::zip(rows.values, rows.at)) {
      Value side = getInput(value.getDefiningOp<OnnxNodeOp>(), i);
      const TensorAnalysis::Shape *shape =
          side ? analysis.getShape(side) : nullptr;
      if (!shape || shape->size() > at.size())
        return {};
      operand.values.push_back(side);
      Indices own(at.end() - shape->size(), at.end());
      for (auto [index, size] : llvm::zip(own, *shape))
        if (isConstant(size, 1))
          index = context.integer(0);
      operand.at.push_back(own);
      isStoredOperand &= isStored(side);
    }
    Value side = isStoredOperand ? liftStored(operand) : lift(operand);
    if (!side)
      return {};
    operands.push_back(side);
    const TensorAnalysis::Shape *shape = analysis.getShape(side);
    if (!shape->empty() && !isConstant(shape->back(), 1))
      width = shape->back();
  }
  return makeNode(first.getOpType(), first.getVersion(), operands,
                  llvm::to_vector(first.getOnnxAttributes()),
                  getElementTypeOrSelf(rows.values[0].getType()),
                  {this->rows, width});
}

Value Raiser::ExpertLoop::stepThroughView(Value value, Indices &at) {
  // How many rows there are has a new name at every view, but what keeps the
  // columns keeps the rows.
  Indices stepped = at;
  Value source = analysis.stepThroughView(value, stepped);
  if (!source || isNode(value.getDefiningOp<OnnxNodeOp>(), "Transpose")) {
    at = stepped;
    return source;
  }
  auto getSizes = [&](Value v, SmallVector<size_t> &places) {
    for (auto [i, size] : llvm::enumerate(*analysis.getShape(v)))
      if (!isConstant(size, 1))
        places.push_back(i);
  };
  SmallVector<size_t> to, from;
  getSizes(value, to);
  getSizes(source, from);
  const TensorAnalysis::Shape &shape = *analysis.getShape(source);
  bool keeps =
      to.size() == from.size() && !to.empty() && to.size() <= 2 &&
      !getInteger(shape[from[0]]) &&
      !getInteger((*analysis.getShape(value))[to[0]]) &&
      (to.size() == 1 || shape[from[1]] == (*analysis.getShape(value))[to[1]]);
  if (!keeps) {
    at = stepped;
    return source;
  }
  Indices own(shape.size(), context.integer(0));
  for (auto [i, place] : llvm::enumerate(from))
    own[place] = at[to[i]];
  at = own;
  return source;
}

Value Raiser::ExpertLoop::lift(Rows rows) {
  if (Value done = lifted.lookup(rows.values[0]))
    return done;
  Value key = rows.values[0];
  auto isView = [&](Value value, Indices at) {
    return (bool)stepThroughView(value, at);
  };
  while (isView(rows.values[0], rows.at[0]))
    for (auto [value, at] : llvm::zip(rows.values, rows.at))
      if (!(value = stepThroughView(value, at)))
        return {};
  auto first = rows.values[0].getDefiningOp<OnnxNodeOp>();
  if (!first)
    return {};
  Value result;
  if (isNode(first, "Gather"))
    result = liftGather(rows);
  else if (isNode(first, "MatMul") || isNode(first, "Gemm"))
    result = liftProduct(rows);
  else
    result = liftElementwise(rows);
  if (result)
    lifted[key] = result;
  return result;
}

bool Raiser::ExpertLoop::raise() {
  Value result = last.getResult(0);
  const TensorAnalysis::Shape *found = analysis.getShape(result);
  if (!found || found->size() != 2 || !collect(result) || parts.size() < 2)
    return false;
  TensorAnalysis::Shape shape = *found;
  // Every expert that can be chosen, once; no token chooses one twice.
  llvm::sort(parts,
             [](const Part &a, const Part &b) { return a.expert < b.expert; });
  for (auto [i, part] : llvm::enumerate(parts))
    if (part.expert != (int64_t)i)
      return false;
  OnnxNodeOp top = getNode(choices, "TopK");
  const TensorAnalysis::Shape *scores =
      top ? analysis.getShape(getInput(top, 0)) : nullptr;
  const TensorAnalysis::Shape *table = analysis.getShape(choices);
  if (!scores || choices != top.getResult(1) || scores->size() != 2 || !table ||
      !isConstant((*scores)[1], parts.size()))
    return false;
  std::optional<int64_t> k = getInteger((*table)[1]);
  if (!k || *k < 1)
    return false;
  chosen = *k;
  tokens = (*table)[0];
  rows = context.mul(tokens, context.integer(chosen));
  if (shape[0] != tokens)
    return false;

  raiser.builder.setInsertionPoint(last);
  pairs = makeNode("Reshape", 14, {choices, makeSizes({-1})}, {},
                   getElementTypeOrSelf(choices.getType()), {rows});
  Rows updates;
  for (const Part &part : parts) {
    const TensorAnalysis::Shape *size = analysis.getShape(part.update);
    if (!size || size->size() != 2)
      return false;
    updates.values.push_back(part.update);
    updates.at.push_back(
        {makeIndex("n", (*size)[0]), makeIndex("d", (*size)[1])});
  }
  Value all = lift(updates);
  if (!all)
    return false;
  Type element = getElementTypeOrSelf(result.getType());
  std::optional<int64_t> width = getInteger(shape[1]);
  if (!width || getElementTypeOrSelf(all.getType()) != element)
    return false;
  Value cube =
      makeNode("Reshape", 14, {all, makeSizes({-1, chosen, *width})}, {},
               element, {tokens, context.integer(chosen), shape[1]});
  Value sum = makeNode("ReduceSum", 13, {cube, makeSizes({1})},
                       {raiser.makeInt("keepdims", 0)}, element, shape);
  raiser.replace(result, sum);
  return true;
}

void Raiser::raiseExpertLoops() {
  // The last addition of a sum has the others behind it.
  SmallVector<OnnxNodeOp> sums;
  for (auto op : func.getBody().front().getOps<OnnxNodeOp>())
    if (isNode(op, "Add") || isNode(op, "ScatterElements") ||
        isNode(op, "ScatterND"))
      sums.push_back(op);
  DenseSet<Operation *> done;
  for (OnnxNodeOp op : llvm::reverse(sums))
    if (!op->use_empty() && !done.contains(op)) {
      ExpertLoop loop(*this, op);
      if (loop.raise())
        done.insert_range(loop.getNodes());
    }
}

//===- Shapes.cpp - Symbolic shapes of ONNX nodes -------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The shapes half of TensorAnalysis. The ONNX library's inference gives names
/// to sizes; this one gives expressions, so that two sizes computed on
/// different ways (`past + sequence`) are known to be equal. Where a size is
/// not understood it is a symbol of its own. Broadcasting follows the ONNX
/// standard's Broadcasting.md, with two unknown sizes taken to be equal.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/TensorAnalysis.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;
using Shape = TensorAnalysis::Shape;

/// A dimension's name in the file: a symbol, or a sum of symbols and numbers.
static Expr parseSize(Context &context, StringRef name) {
  Expr sum = context.integer(0);
  SmallVector<StringRef> parts;
  name.split(parts, '+');
  for (StringRef part : parts) {
    part = part.trim();
    int64_t number;
    if (!part.getAsInteger(10, number))
      sum = context.add(sum, context.integer(number));
    else if (llvm::all_of(part, [](char c) {
               return llvm::isAlnum(c) || c == '_' || c == '.';
             }))
      sum = context.add(sum, context.size(part));
    else // Something else: a symbol with a strange name.
      return context.size(name);
  }
  return sum;
}

const Shape *TensorAnalysis::getShape(Value value) {
  if (!value) // an input that is left out
    return nullptr;
  if (auto it = shapes.find(value.getAsOpaquePointer()); it != shapes.end())
    return it->second.size() == 1 && !it->second[0] ? nullptr : &it->second;
  // While it is computed, a cycle (there is none in valid IR) finds "unknown".
  shapes[value.getAsOpaquePointer()] = Shape{nullptr};

  auto type = dyn_cast<RankedTensorType>(value.getType());
  std::optional<Shape> computed;
  if (auto op = value.getDefiningOp<OnnxNodeOp>())
    computed = computeShape(op, cast<OpResult>(value).getResultNumber());
  if (!type && !computed)
    return nullptr;
  if (type && computed && type.getRank() != int64_t(computed->size()))
    computed.reset();
  Shape shape;
  DimsAttr names =
      type ? dyn_cast_or_null<DimsAttr>(type.getEncoding()) : DimsAttr();
  size_t rank = type ? type.getRank() : computed->size();
  for (size_t i = 0; i < rank; ++i) {
    if (type && !type.isDynamicDim(i))
      shape.push_back(context.integer(type.getDimSize(i)));
    else if (computed && (*computed)[i]) {
      shape.push_back((*computed)[i]);
      // The file may have a name for it.
      if (names && i < names.getNames().size() &&
          !names.getNames()[i].getValue().empty()) {
        Expr named = parseSize(context, names.getNames()[i].getValue());
        if (named != shape.back() && !getConstant(named) &&
            !getConstant(shape.back()))
          conflicts.push_back({shape.back(), named});
      }
    } else if (names && i < names.getNames().size() &&
               !names.getNames()[i].getValue().empty())
      shape.push_back(parseSize(context, names.getNames()[i].getValue()));
    else
      shape.push_back(context.size("?" + std::to_string(shapes.size()) + "." +
                                   std::to_string(i)));
  }
  return &(shapes[value.getAsOpaquePointer()] = std::move(shape));
}

std::optional<Shape> TensorAnalysis::broadcast(ValueRange values) {
  Shape result;
  for (Value value : values) {
    if (isa<AbsentType>(value.getType()))
      continue;
    const Shape *shape = getShape(value);
    if (!shape)
      return std::nullopt;
    while (result.size() < shape->size())
      result.insert(result.begin(), context.integer(1));
    size_t offset = result.size() - shape->size();
    for (size_t i = 0; i < shape->size(); ++i) {
      Expr &size = result[offset + i];
      if (size != (*shape)[i] && !getConstant(size) &&
          !getConstant((*shape)[i]))
        conflicts.push_back({size, (*shape)[i]});
      // A number other than 1 decides; a symbol beats a 1.
      if (isConstant(size, 1) ||
          (!getConstant(size) && getConstant((*shape)[i]) &&
           !isConstant((*shape)[i], 1)))
        size = (*shape)[i];
    }
  }
  return result;
}

std::optional<TensorAnalysis::SliceBounds>
TensorAnalysis::getSliceBounds(OnnxNodeOp op) {
  const Shape *data = getShape(getInput(op, 0));
  if (!data)
    return std::nullopt;
  int64_t rank = data->size();
  std::optional<Shape> starts, ends;
  std::optional<SmallVector<int64_t>> axes = getInts(op, "axes"), steps;
  auto fromAttribute = [&](StringRef name) -> std::optional<Shape> {
    std::optional<SmallVector<int64_t>> values = getInts(op, name);
    if (!values)
      return std::nullopt;
    Shape result;
    for (int64_t v : *values)
      result.push_back(context.integer(v));
    return result;
  };
  if (getInput(op, 1) && getInput(op, 2)) {
    starts = getElements(getInput(op, 1));
    ends = getElements(getInput(op, 2));
    if (getInput(op, 3) && !(axes = getIntegers(getInput(op, 3))))
      return std::nullopt;
    if (getInput(op, 4) && !(steps = getIntegers(getInput(op, 4))))
      return std::nullopt;
  } else { // before opset 10
    starts = fromAttribute("starts");
    ends = fromAttribute("ends");
  }
  if (!starts || !ends || starts->size() != ends->size() ||
      (axes && axes->size() != starts->size()) ||
      (steps && steps->size() != starts->size()))
    return std::nullopt;

  SliceBounds bounds;
  bounds.start.assign(rank, context.integer(0));
  bounds.size = *data;
  bounds.step.assign(rank, 1);
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : int64_t(i);
    int64_t step = steps ? (*steps)[i] : 1;
    if (axis < 0)
      axis += rank;
    if (axis < 0 || axis >= rank || step < 1)
      return std::nullopt;
    Expr size = (*data)[axis];
    // Counted from the end where negative, and cut to the tensor.
    auto clamp = [&](Expr e) -> Expr {
      if (!e->isNumber() || e->isFloat)
        return nullptr;
      // "To the end" is written as a number that no size reaches.
      if (std::optional<double> k = getConstant(e); k && *k >= 0x1p40)
        return size;
      if (context.provesNotNegative(e)) {
        if (e != size && !getConstant(e) && !getConstant(size))
          cuts.push_back({e, size});
        return context.min(e, size);
      }
      if (!context.provesNotNegative(context.sub(context.integer(-1), e)))
        return nullptr;
      return context.max(context.add(e, size), context.integer(0));
    };
    Expr start = clamp((*starts)[i]), end = clamp((*ends)[i]);
    if (!start || !end)
      return std::nullopt;
    Expr length = context.max(context.sub(end, start), context.integer(0));
    if (step != 1)
      length = context.floorDiv(context.add(length, context.integer(step - 1)),
                                context.integer(step));
    bounds.start[axis] = start;
    bounds.size[axis] = length;
    bounds.step[axis] = step;
  }
  return bounds;
}

/// Operators of com.microsoft whose result has the shape of an operand.
static std::optional<Shape>
computeMicrosoftShape(OnnxNodeOp op, const Shape *first, unsigned result) {
  StringRef type = op.getOpType();
  if (!first)
    return std::nullopt;
  bool isSame =
      llvm::StringSwitch<bool>(type)
          .Cases(
              {"BiasGelu", "FastGelu", "QuickGelu", "Gelu", "RotaryEmbedding"},
              result == 0)
          .Cases({"QuantizeLinear", "DequantizeLinear", "QLinearSigmoid",
                  "QLinearLeakyRelu", "QLinearSoftmax"},
                 result == 0)
          // The sum of the two inputs is a result too.
          .Cases({"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"},
                 result == 0 || result == 3)
          .Default(false);
  return isSame ? std::optional<Shape>(*first) : std::nullopt;
}

std::optional<Shape> TensorAnalysis::computeShape(OnnxNodeOp op,
                                                  unsigned result) {
  if (op.getNumRegions() > 0)
    return std::nullopt;
  StringRef type = op.getOpType();
  Value input = getInput(op, 0);
  const Shape *first = input ? getShape(input) : nullptr;
  if (op.getDomain() == "com.microsoft") {
    if ((type == "QLinearAdd" || type == "QLinearMul") &&
        op.getNumOperands() > 3)
      return broadcast({input, getInput(op, 3)});
    if (type == "QGemm" && first && op.getNumOperands() > 3) {
      const Shape *second = getShape(getInput(op, 3));
      if (!second || first->size() != 2 || second->size() != 2)
        return std::nullopt;
      return Shape{(*first)[getInt(op, "transA", 0) ? 1 : 0],
                   (*second)[getInt(op, "transB", 0) ? 0 : 1]};
    }
    return computeMicrosoftShape(op, first, result);
  }
  if (!op.hasStandardDomain())
    return std::nullopt;
  auto axisOf = [&](int64_t otherwise, int64_t rank) {
    int64_t axis = getInt(op, "axis", otherwise);
    return axis < 0 ? axis + rank : axis;
  };

  enum Class { None, Same, Broadcast };
  Class shapeClass =
      llvm::StringSwitch<Class>(type)
          .Cases({"Cast", "CastLike", "Identity", "Dropout", "Neg", "Abs",
                  "Sqrt", "Reciprocal"},
                 Same)
          .Cases({"Exp", "Log", "Erf", "Tanh", "Sigmoid", "Cos", "Sin", "Relu"},
                 Same)
          .Cases({"IsNaN", "IsInf", "Softmax", "LogSoftmax", "Not", "Sign",
                  "Floor", "Ceil"},
                 Same)
          .Cases({"Round", "Clip", "Trilu", "CumSum", "Gelu", "Softplus",
                  "LayerNormalization", "Elu"},
                 Same)
          .Cases({"RMSNormalization", "BitwiseNot", "LeakyRelu", "Swish",
                  "ScatterND", "ScatterElements"},
                 Same)
          .Cases(
              {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"},
              Same)
          .Cases({"Add", "Sub", "Mul", "Div", "Mod", "Pow", "Min", "Max"},
                 Broadcast)
          .Cases({"And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater",
                  "GreaterOrEqual"},
                 Broadcast)
          .Cases({"BitwiseAnd", "BitwiseOr", "Where", "Sum", "Mean"}, Broadcast)
          .Default(None);
  if (shapeClass == Same)
    return first && result == 0 ? std::optional<Shape>(*first) : std::nullopt;
  if (shapeClass == Broadcast)
    return broadcast(op.getInputs());

  if (type == "Range") {
    Expr start = getElement(getInput(op, 0), {});
    Expr limit = getElement(getInput(op, 1), {});
    Expr delta = getElement(getInput(op, 2), {});
    std::optional<int64_t> step = getInteger(delta);
    if (!start->isNumber() || !limit->isNumber() || start->isFloat || !step ||
        *step < 1)
      return std::nullopt;
    Expr span = context.max(context.sub(limit, start), context.integer(0));
    return Shape{
        context.floorDiv(context.add(span, context.integer(*step - 1)), delta)};
  }
  if (type == "ConstantOfShape")
    return getElements(input);
  if (type == "Constant")
    return std::nullopt; // its type is static
  if (type == "Size")
    return Shape{};
  if (!first)
    return std::nullopt;
  Shape shape = *first;
  int64_t rank = shape.size();

  if (type == "Shape") {
    int64_t start = getInt(op, "start", 0), end = getInt(op, "end", rank);
    auto clamp = [&](int64_t v) {
      return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank);
    };
    return Shape{
        context.integer(std::max<int64_t>(0, clamp(end) - clamp(start)))};
  }
  if (type == "OneHot") {
    std::optional<SmallVector<int64_t>> depth = getIntegers(getInput(op, 1));
    int64_t axis = axisOf(-1, rank + 1);
    if (!depth || depth->size() != 1 || axis > rank)
      return std::nullopt;
    Shape to = shape;
    to.insert(to.begin() + axis, context.integer(depth->front()));
    return to;
  }
  if (type == "NonZero") {
    if (!isNonZero(input)) // a size of its own
      return Shape{context.integer(rank), nullptr};
    Expr count = context.integer(1);
    for (Expr e : shape)
      count = context.mul(count, e);
    return Shape{context.integer(rank), count};
  }
  if (type == "Transpose") {
    std::optional<SmallVector<int64_t>> perm = getInts(op, "perm");
    if (perm && int64_t(perm->size()) != rank)
      return std::nullopt;
    Shape to;
    for (int64_t i = 0; i < rank; ++i)
      to.push_back(shape[perm ? (*perm)[i] : rank - 1 - i]);
    return to;
  }
  if (type == "Unsqueeze") {
    std::optional<SmallVector<int64_t>> axes = getInts(op, "axes");
    if (!axes)
      axes = getIntegers(getInput(op, 1));
    if (!axes)
      return std::nullopt;
    int64_t newRank = rank + axes->size();
    Shape to;
    size_t next = 0;
    for (int64_t i = 0; i < newRank; ++i) {
      bool added = llvm::is_contained(*axes, i) ||
                   llvm::is_contained(*axes, i - newRank);
      to.push_back(added ? context.integer(1) : shape[next++]);
    }
    return to;
  }
  if (type == "Squeeze") {
    std::optional<SmallVector<int64_t>> axes = getAxes(op, rank);
    Shape to;
    for (int64_t i = 0; i < rank; ++i)
      if (axes ? !llvm::is_contained(*axes, i) : !isConstant(shape[i], 1))
        to.push_back(shape[i]);
    return to;
  }
  if (type == "Flatten") {
    int64_t axis = axisOf(1, rank);
    Shape to{context.integer(1), context.integer(1)};
    for (int64_t i = 0; i < rank; ++i)
      to[i >= axis] = context.mul(to[i >= axis], shape[i]);
    return to;
  }
  if (type == "Reshape") {
    std::optional<Shape> to = getElements(getInput(op, 1));
    if (!to)
      return std::nullopt;
    bool allowZero = getInt(op, "allowzero", 0);
    Expr total = context.integer(1), known = context.integer(1);
    for (Expr e : shape)
      total = context.mul(total, e);
    std::optional<size_t> open;
    for (auto [i, e] : llvm::enumerate(*to)) {
      if (!e->isNumber())
        return std::nullopt;
      if (isConstant(e, -1)) {
        open = i;
        continue;
      }
      if (isConstant(e, 0) && !allowZero && i < shape.size())
        e = shape[i];
      known = context.mul(known, e);
    }
    if (open) {
      // What both products share has no say.
      (*to)[*open] = context.exactQuotient(total, known);
      if (!(*to)[*open] && isConstant(known, 1))
        (*to)[*open] = total;
    }
    return to;
  }
  if (type == "Expand") {
    std::optional<Shape> to = getElements(getInput(op, 1));
    if (!to)
      return std::nullopt;
    while (to->size() < shape.size())
      to->insert(to->begin(), context.integer(1));
    size_t offset = to->size() - shape.size();
    for (size_t i = 0; i < shape.size(); ++i)
      if (isConstant((*to)[offset + i], 1) ||
          (getConstant(shape[i]) && !isConstant(shape[i], 1)))
        (*to)[offset + i] = shape[i];
    return to;
  }
  if (type == "Tile") {
    std::optional<Shape> repeats = getElements(getInput(op, 1));
    if (!repeats || repeats->size() != shape.size())
      return std::nullopt;
    for (auto [size, repeat] : llvm::zip(shape, *repeats))
      size = context.mul(size, repeat);
    return shape;
  }
  if (type == "Concat") {
    int64_t axis = axisOf(0, rank);
    for (Value v : llvm::drop_begin(op.getInputs())) {
      const Shape *other = getShape(v);
      if (!other || int64_t(other->size()) != rank || axis >= rank)
        return std::nullopt;
      shape[axis] = context.add(shape[axis], (*other)[axis]);
      for (int64_t i = 0; i < rank; ++i)
        if (i != axis && !getConstant(shape[i]))
          shape[i] = getConstant((*other)[i]) ? (*other)[i] : shape[i];
    }
    return shape;
  }
  if (type == "Split") {
    int64_t axis = axisOf(0, rank);
    std::optional<SmallVector<int64_t>> sizes = getInts(op, "split");
    if (!sizes)
      sizes = getIntegers(getInput(op, 1));
    if (axis >= rank)
      return std::nullopt;
    if (sizes) {
      if (result >= sizes->size())
        return std::nullopt;
      shape[axis] = context.integer((*sizes)[result]);
      return shape;
    }
    std::optional<int64_t> total = getInteger(shape[axis]);
    if (!total)
      return std::nullopt;
    int64_t count = op.getNumResults();
    int64_t chunk = (*total + count - 1) / count;
    shape[axis] = context.integer(
        std::max<int64_t>(0, std::min(chunk, *total - chunk * result)));
    return shape;
  }
  if (type == "TopK") {
    int64_t axis = axisOf(-1, rank);
    std::optional<Shape> count =
        getInput(op, 1) ? getElements(getInput(op, 1)) : std::nullopt;
    if (axis >= rank || !count || count->size() != 1)
      return std::nullopt;
    shape[axis] = (*count)[0];
    return shape;
  }
  if (type == "Slice") {
    std::optional<SliceBounds> bounds = getSliceBounds(op);
    return bounds ? std::optional<Shape>(bounds->size) : std::nullopt;
  }
  if (type == "Gather") {
    const Shape *places = getShape(getInput(op, 1));
    int64_t axis = axisOf(0, rank);
    if (!places || axis >= rank)
      return std::nullopt;
    Shape to(shape.begin(), shape.begin() + axis);
    to.append(places->begin(), places->end());
    to.append(shape.begin() + axis + 1, shape.end());
    return to;
  }
  if (type == "GatherElements") {
    const Shape *places = getShape(getInput(op, 1));
    return places ? std::optional<Shape>(*places) : std::nullopt;
  }
  if (type == "GatherND") {
    const Shape *places = getShape(getInput(op, 1));
    if (!places || places->empty())
      return std::nullopt;
    std::optional<int64_t> tuple = getInteger(places->back());
    int64_t skipped = tuple ? *tuple + getInt(op, "batch_dims", 0) : rank + 1;
    if (skipped > rank)
      return std::nullopt;
    Shape to(places->begin(), places->end() - 1);
    to.append(shape.begin() + skipped, shape.end());
    return to;
  }
  if (type == "MatMul" || type == "MatMulInteger" || type == "QLinearMatMul") {
    // Codes of the latter come with their scale and zero point.
    const Shape *second =
        getShape(getInput(op, type == "QLinearMatMul" ? 3 : 1));
    if (!second || rank < 2 || second->size() < 2)
      return std::nullopt;
    // Batch dimensions broadcast.
    Shape to;
    size_t a = rank - 2, b = second->size() - 2;
    for (size_t i = 0, n = std::max(a, b); i < n; ++i) {
      Expr x = i + a >= n ? shape[i + a - n] : nullptr;
      Expr y = i + b >= n ? (*second)[i + b - n] : nullptr;
      to.push_back(!x || (y && isConstant(x, 1)) ? y : x);
    }
    to.push_back(shape[rank - 2]);
    to.push_back(second->back());
    return to;
  }
  if (type == "Gemm") {
    const Shape *second = getShape(getInput(op, 1));
    if (!second || rank != 2 || second->size() != 2)
      return std::nullopt;
    return Shape{shape[getInt(op, "transA", 0) ? 1 : 0],
                 (*second)[getInt(op, "transB", 0) ? 0 : 1]};
  }
  if (type.starts_with("Reduce") || type == "ArgMax" || type == "ArgMin") {
    std::optional<SmallVector<int64_t>> axes;
    if (type.starts_with("Arg"))
      axes = SmallVector<int64_t>{axisOf(0, rank)};
    else if (getInts(op, "axes") || getInput(op, 1)) {
      axes = getAxes(op, rank);
      if (!axes)
        return std::nullopt;
    } else if (getInt(op, "noop_with_empty_axes", 0))
      return shape;
    bool keep = getInt(op, "keepdims", 1);
    Shape to;
    for (int64_t i = 0; i < rank; ++i) {
      if (axes && !llvm::is_contained(*axes, i))
        to.push_back(shape[i]);
      else if (keep)
        to.push_back(context.integer(1));
    }
    return to;
  }
  return std::nullopt;
}

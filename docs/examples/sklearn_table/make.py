"""A risk model of scikit-learn, with its scaler inside, as ONNX; and the cases that it is judged on."""

import onnx
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

cases = load_breast_cancer(as_frame=True)
names = {0: "malignant", 1: "benign"}
table = cases.data.assign(diagnosis=cases.target.map(names))
fitted, kept = train_test_split(table, test_size=0.6, random_state=0, stratify=table["diagnosis"])
model = make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=400, random_state=0))
model.fit(fitted.drop(columns="diagnosis").to_numpy("float32"), fitted["diagnosis"])
onnx.save(
    to_onnx(model, kept.drop(columns="diagnosis").to_numpy("float32")[:1], options={"zipmap": False}), "risk.onnx"
)
kept.to_csv("cases.csv", index=False)
print("classes in the model's order:", list(model.classes_))

"""Move the tests by the same map; paths that they read follow."""
import pathlib, re, subprocess
R=pathlib.Path('.')
MV={}
def put(dst, *names, src):
    for n in names:
        a,_,b=n.partition('>')
        MV[f'tests/{src}/{a}.py']=f'tests/{dst}/{b or a}.py'
put('schema/language','test_json_schema','test_migrations>test_migrate','test_mistakes','test_nearest','test_round_trip','test_source>test_parse','test_write',src='schema')
put('schema/diagnostics','test_codes','test_render',src='schema')
put('schema/values','test_first_line','test_frozen','test_home_path','test_installed_versions>test_distributions','test_markdown_words','test_read_back>test_canonical','test_units',src='schema')
put('schema/compare','test_difference',src='schema')
put('schema/values','test_append_line',src='runtime/execution')
put('compiler/machine','test_bench_file','test_hardware>test_detect','test_hardware_garbage','test_kernel_variables','test_profile','test_published',src='compiler')
put('compiler/bind','test_bind','test_bind_mistakes','test_check_facts',src='compiler')
put('compiler/predict','test_coverage>test_layer_coverage','test_feasible','test_price','test_room>test_memory','test_suit>test_suitability','test_totals',src='compiler')
put('compiler/decide','test_decide','test_device','test_gates>test_contract','test_levels',src='compiler')
put('compiler/facts','test_describe>test_user_operators','test_file_digests','test_header_digests','test_inspect','test_located',src='compiler')
put('compiler/lower','test_lower','test_verify',src='compiler')
put('compiler/passes','test_passes','test_pass_promises',src='compiler')
put('runtime/contract/statistics','test_auroc','test_binomial','test_bootstrap','test_bounded_mean','test_clusters','test_group_ratio','test_midranks','test_order_statistic','test_paired_difference','test_score_ratio',src='runtime/contract')
put('runtime/contract','test_answers>test_decision_counts',src='runtime/report')
put('runtime/contract','test_holm>test_subgroup_harm',src='runtime/contract')
put('runtime/data','test_images>test_readers','test_subgroups>test_groups',src='runtime/data')
put('runtime/operators/data','test_labels','test_loading>test_load','test_splitting>test_split',src='runtime/data')
put('runtime/backends','test_data_kinds>test_rows',src='runtime/data')
put('runtime','test_user_code',src='runtime/data')
put('runtime/backends','test_engines>test_backend',src='runtime/engines')
put('runtime/backends/torch','test_torch_kind>test_module',src='runtime/kinds')
put('runtime/backends/torch','test_factory','test_safetensors_header','test_weights','test_real_resnet',src='runtime/models')
put('runtime/backends/torch','test_tensor_layout',src='runtime')
put('runtime/operators/model','test_onnx_loading>test_load_onnx',src='runtime/models')
put('runtime/operators/export','test_export_onnx>test_onnx','test_export_torchscript>test_torchscript',src='runtime/operators')
put('runtime/operators/model','test_model_cast>test_cast','test_model_fuse>test_fuse',src='runtime/operators')
put('runtime/operators/profile','test_profile_latency>test_latency',src='runtime/operators')
put('runtime/operators/quantize','test_quantize_ort>test_ort','test_quantize_torch_dynamic>test_torch_dynamic','test_static_graph',src='runtime/operators')
put('runtime/operators/train','test_train_fit>test_fit',src='runtime/operators')
put('runtime/operators/validate','test_validate_contract>test_contract','test_validate_measure>test_measure','test_validate_operating_point>test_operating_point','test_validate_predict>test_predict',src='runtime/operators')
put('runtime/inspect','test_onnx_flops','test_onnx_parameters','test_torch_flops','test_unit_counts','test_facts_agree',src='runtime/inspecting')
put('runtime/inspect','test_inspection>test_inspect',src='runtime')
put('runtime/inspect','test_summary',src='runtime/instruments')
put('runtime/machine','test_device_speed','test_bench_instruments>test_bench',src='runtime/instruments')
put('runtime/machine','test_memory>test_peak_memory',src='runtime')
put('runtime','test_apply>test_api','test_layout>test_values','test_set_seed>test_seed',src='runtime')
put('runtime/cost','test_gpu_cost','test_layer_work','test_sizes',src='runtime')
put('runtime/serve','test_released',src='runtime')
put('runtime/run','test_deadline','test_environment','test_execute','test_forecast>test_preview','test_history','test_looks>test_evaluation_looks','test_record','test_run_log','test_search','test_crash_points','test_torture','test_interruption','test_freed',src='runtime/execution')
put('runtime/store','test_clean_store>test_clean','test_home','test_journal','test_keys','test_live','test_locks','test_run_order','test_store>test_artifacts','test_user_files',src='runtime/execution')
put('runtime/worker','test_answers','test_step_log>test_output','test_worker','test_model_readings',src='runtime/execution')
put('runtime','drive','in_process','toys',src='runtime/execution')
put('runtime/run','test_replay',src='runtime/execution/rerun')
put('runtime/rerun','test_restore','test_tampered','test_verdict',src='runtime/execution/rerun')
put('runtime/store','test_tensor_difference',src='runtime/execution/rerun')
put('cli','test_layout',src='cli')
MV['tests/test_devices.py']='tests/api/test_devices.py'; MV['tests/test_suitability.py']='tests/api/test_suitability.py'; MV['tests/test_hardware_text.py']='tests/cli/test_hardware_text.py'
MV['tests/cli/test_write_file.py']='tests/api/test_write_file.py'
old_dirs={}
for a,b in MV.items():
    A,B=R/a,R/b
    if a==b: continue
    assert A.exists(),a
    assert not B.exists() ,b
    B.parent.mkdir(parents=True,exist_ok=True)
    t=A.read_text()
    # the folder that the test's own files lie in
    od=pathlib.PurePath(a).parent
    home=pathlib.PurePath('tests/runtime') if str(od).startswith('tests/runtime/execution') else od
    nd=pathlib.PurePath(b).parent
    def up(target):  # expression for a folder above nd
        n=len(nd.parts)-len(target.parts)
        assert nd.parts[:len(target.parts)]==target.parts,(a,target)
        return 'Path(__file__).parent' if n==0 else f'Path(__file__).parents[{n}]'
    def sub_parents(m):
        k=int(m[1]); base=pathlib.PurePath(*od.parts[:len(od.parts)-k]) if k<=len(od.parts) else None
        return up(base) if base is not None and base.parts else f'Path(__file__).parents[{len(nd.parts)}]'
    if '__file__' in t:
        t=t.replace('Path(__file__).parent.parent.parent','Path(__file__).parents[2]').replace('Path(__file__).parent.parent','Path(__file__).parents[1]')
        marks=[]
        t=re.sub(r'Path\(__file__\)\.parents\[(\d+)\]',sub_parents,t)
        def wn(m):
            f=str(od/ m[1]); dest=MV.get(f)
            if dest and pathlib.PurePath(dest).parent==nd: return f'Path(__file__).with_name("{pathlib.PurePath(dest).name}")'
            d=pathlib.PurePath(dest or f)
            common=nd
            n=0
            while d.parts[:len(common.parts)]!=common.parts: common=common.parent
            rest='/'.join(d.parts[len(common.parts):])
            return f'{up(common)} / "{rest}"'
        t=re.sub(r'Path\(__file__\)\.with_name\("([^"]+)"\)',wn,t)
        if b not in('tests/runtime/drive.py',):
            t=re.sub(r'(?<!\()Path\(__file__\)\.parent(?![s\w])(?!.*read_text\(\)\)\\n)',lambda m: up(home) if nd!=home else m[0],t) if 'user_files' not in a else t
    B.write_text(t); A.unlink()
# conftests
r=R/'tests/runtime/conftest.py'; e=R/'tests/runtime/execution/conftest.py'
print('conftest by hand')
